"""Ring 6: take one safety away, in a copy of the tree, and see that a test fails. ``python tests/mutations.py [NAME...]``.

Prints which test fails for which safety; exit 1 where a mutant survives, or where a patch no longer fits the code. The
same tests must pass with the safety in place. A safety
whose tests all pass without it is not tested, whatever its tests are called.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    "hugesync_tasks",
    "producer",
    "worker",
    "tests",
    "docs",
    "examples",
    "README.md",
    "Makefile",
    "pyproject.toml",
)
TIMEOUT = 400  # seconds; a mutant that hangs a test is seen, too


@dataclass(frozen=True)
class Mutation:
    """``old`` in ``file``, which must be there once, becomes ``new``; then ``tests`` (pytest's words) must fail."""

    safety: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    Mutation(
        "the bytes of a killed process come back", "hugesync_tasks/buffers/row.py",
        "if not granted and table.reap():", "if not granted and False:",
        "tests/test_buffers_processes.py -k killed",
    ),
    Mutation(
        "a worker's budget is never exceeded", "hugesync_tasks/buffers/row.py",
        "        if n > room:\n            return 0\n        return n + min(more, room - n)", "        return n",
        "tests/test_buffers_processes.py -k never_hold",
    ),
    Mutation(
        "bytes are lent in the order of arrival", "hugesync_tasks/buffers/row.py",
        "        if before:\n", "        if False:\n",
        "tests/test_buffers_processes.py -k first",
    ),
    Mutation(
        "memory that somebody still sees is not lent again", "hugesync_tasks/buffers/lease.py",
        "        return True\n    except (SystemError", "        return False\n    except (SystemError",
        "tests/test_buffers.py -k kept_a_view",
    ),
    Mutation(
        "a Redis that does not answer is no fleet without work", "worker/hugesync_worker/figures.py",
        "and self._clock() - self._at < STALE else None", "else None",
        "tests/test_health.py -k stale",
    ),
    Mutation(
        "a job that runs is work before its first task is out", "hugesync_tasks/state/load.py",
        "max(self.unsettled, int(self.alive))", "self.unsettled",
        "tests/test_load.py -k nobody_leads",
    ),
    Mutation(
        "a Redis that is away is no worker's death", "worker/hugesync_worker/health.py",
        "answered_for = min(seen.ledger_for, seen.broker_for)", "answered_for = 10_000.0",
        "tests/test_health.py -k nobodys_death",
    ),
    Mutation(
        "children that are busy are not deaf", "worker/hugesync_worker/health.py",
        "if seen.children and seen.busy >= seen.children:", "if False:",
        "tests/test_health.py -k no_canary",
    ),
    Mutation(
        "what cannot be counted fails no task", "hugesync_tasks/measuring.py",
        "        except Exception as error:\n            _measures = None", "        except KeyError as error:\n            _measures = None",
        "tests/test_measuring.py -k tasks_go_on",
    ),
    Mutation(
        "a full disk kills no child that counts", "hugesync_tasks/measuring.py",
        "os.posix_fallocate(fd, 0, FILE_BYTES)", "os.truncate(fd, FILE_BYTES)",
        "tests/test_measuring.py -k fits",
    ),
    Mutation(
        "labels are bounded", "hugesync_tasks/job_figures.py",
        "list(told.items())[:MOST_JOBS]", "list(told.items())",
        "tests/test_health.py -k bounded",
    ),
    Mutation(
        "a line that was cut off is not continued", "producer/hugesync_producer/lines.py",
        '(b"\\n" if self._torn else b"")', 'b""',
        "tests/test_lines.py",
    ),
    Mutation(
        "what a full disk refused is written when there is room", "producer/hugesync_producer/lines.py",
        "self._waiting.extendleft(reversed(batch[whole:]))", "pass",
        "tests/test_lines.py",
    ),
    Mutation(
        "no pause is longer than --retry-max-wait", "hugesync_tasks/stores/retry.py",
        "return min(self._longest, jitter + (asked or 0.0))", "return jitter + (asked or 0.0)",
        "tests/test_wrappers.py -k longest",
    ),
    Mutation(
        "--events is not standard output", "producer/hugesync_producer/eventfile.py",
        "if _is_stdout(fd):", "if False:",
        "tests/test_events.py -k refused",
    ),
    Mutation(
        "config --init keeps a file that appears meanwhile", "producer/hugesync_producer/configinit.py",
        "os.link(temporary, path)", "os.replace(temporary, path)",
        "tests/test_config.py -k meanwhile",
    ),
    Mutation(
        "a configuration file is its owner's", "producer/hugesync_producer/configinit.py",
        "0o600)", "0o644)",
        "tests/test_config.py -k new_file",
    ),
    Mutation(
        "the end of a job is never dropped", "producer/hugesync_producer/mailbox.py",
        " and not isinstance(event, Ended)", "",
        "tests/test_library.py -k taker",
    ),
    Mutation(
        "a job whose block is left is stopped and waited for", "producer/hugesync_producer/running.py",
        "        self.stop()\n        self._thread.join()", "        pass",
        "tests/test_library.py -k stopped_and_is",
    ),
    Mutation(
        "--max-duration drains", "producer/hugesync_producer/coordinator.py",
        "                self.drain(stop)\n            try", "                pass\n            try",
        "tests/test_stopping.py -k time_is_over",
    ),
    Mutation(
        "an event holds no secret", "producer/hugesync_producer/events.py",
        '"message": redact(message)', '"message": message',
        "tests/test_events.py -k secret",
    ),
    Mutation(
        "what the planner decides is told to the job's observer", "producer/hugesync_producer/planfeed.py",
        "context.run(self._run)", "self._run()",
        "tests/test_events.py -k agree",
    ),
    Mutation(
        "a second job of a process has its own broker", "producer/hugesync_producer/run.py",
        "publisher(stack.enter_context(publishing(settings)), trace.headers)", 'publisher(__import__("hugesync_tasks.celery").celery.app, trace.headers)',
        "tests/test_library.py -k basic",
    ),
    Mutation(
        "--log-file leaves stderr as it was", "hugesync_tasks/logs.py",
        'return record.levelno >= self._levels[name or "root"]', "return True",
        "tests/test_events.py -k verbose_would",
    ),
    Mutation(
        "what is begun as the job ends is taken away", "hugesync_tasks/perform_begin.py",
        "            if not listed:\n                take_back(job.dest, large.upload, token)", "            pass",
        "tests/test_too_late.py -k taken_away",
    ),
    Mutation(
        "what is begun as the job ends keeps others' parts", "hugesync_tasks/perform_begin.py",
        "            if not listed:\n                take_back(job.dest, large.upload, token)", "            take_back(job.dest, large.upload, token)",
        "tests/test_too_late.py -k stays",
    ),
    Mutation(
        "a large file is in the ledger before its upload is opened", "hugesync_tasks/perform_begin.py",
        "if large.delta is not None or job.dest.limits.intents:", "if large.delta is not None:",
        "tests/test_unheard.py -k as_the_job_ends",
    ),
    Mutation(
        "a begin that stood still touches nothing that others began", "hugesync_tasks/perform_begin.py",
        "        token.moved(0)  #", "        #",
        "tests/test_unheard.py -k stood_still",
    ),
    Mutation(
        "a refused begin closes no record of what another began", "hugesync_tasks/state/memory.py",
        'or (unbegun and (had.fields["gen"] != unbegun or had.fields.get("upload")))', "",
        "tests/test_unheard.py -k refused_at_last",
    ),
    Mutation(
        "no part is sent without its upload's id", "hugesync_tasks/work.py",
        "        if not large.upload.id:", "        if False:",
        "tests/test_unheard.py -k names_no_upload",
    ),
    Mutation(
        "an intent tells of the upload that the ledger forgot", "hugesync_tasks/stages/begin.py",
        "    if found is not None and found.id != upload.id:", "    if False:",
        "tests/test_unheard.py -k intent_names",
    ),
    Mutation(
        "what makes the loop is given back", "hugesync_tasks/delta/slide.py",
        "    compiled(None)\n    give_back()", "    compiled(None)",
        "tests/test_compiler_memory.py -k goes_on",
    ),
    Mutation(
        "a worker takes no living one's token", "hugesync_tasks/register.py",
        "for dead in self._others[root] - set(fellows):", "for dead in self._others[root]:",
        "tests/test_fleet.py -k as_a_job_ended",
    ),
    Mutation(
        "no more copies are chosen among than could matter", "hugesync_tasks/layout.py",
        "    if len(copies) <= sure:", "    if True:",
        "tests/test_compiler_memory.py -k upload",
    ),
    Mutation(
        "If-Match of Put, Complete and Copy", "hugesync_tasks/stores/s3_root.py",
        'return {} if expected == ANY else {"IfMatch": quoted(expected)}', "return {}",
        "tests/test_s3_store.py -k refused",
    ),
    Mutation(
        "If-None-Match of what must be new", "hugesync_tasks/stores/s3_root.py",
        'return {"IfNoneMatch": "*"}', "return {}",
        "tests/test_s3_store.py -k refused",
    ),
    Mutation(
        "the condition of a small Put by obstore", "hugesync_tasks/stores/s3_small.py",
        '"create" if expected is None else "overwrite" if expected == ANY else {"e_tag": quoted(expected)}', '"overwrite"',
        "tests/test_s3_store.py -k refused",
    ),
    Mutation(
        "ifGenerationMatch of every write", "hugesync_tasks/stores/gcs_root.py",
        'return {"ifGenerationMatch": "0" if expected is None else generation(expected)}', "return {}",
        "tests/test_store_contract.py -k 'gcs and strict'",
    ),
    Mutation(
        "the CRC32C of what was composed", "hugesync_tasks/stores/gcs_root.py",
        "if int(made.get(\"size\", -1)) == size and (crc32c is None or held == crc32c):", "if True:",
        "tests/test_gcs_store.py",
    ),
    Mutation(
        "If-Match of Put Blob and Put Block List", "hugesync_tasks/stores/azure_root.py",
        'return {} if expected == ANY else {"If-Match": quoted(expected)}', "return {}",
        "tests/test_store_contract.py -k 'azure and strict'",
    ),
    Mutation(
        "x-ms-source-if-match of a copied range", "hugesync_tasks/stores/azure_copies.py",
        'headers["x-ms-source-if-match"] = quoted(source_version)', "pass",
        "tests/test_azure_store.py tests/test_store_contract.py -k 'azure and not azurite'",
    ),
    Mutation(
        "another program's litter at Azure is no conflict", "hugesync_tasks/perform.py",
        "    except Disturbed as error:", "    except ZeroDivisionError as error:",
        "tests/test_pairs.py -k another_program",
    ),
    Mutation(
        "what no worker has begun is taken back", "producer/hugesync_producer/coordinator.py",
        "            self.units.take_back()\n", "            pass\n",
        "tests/test_stopping.py",
    ),
    Mutation(
        "a task that was taken back is nobody's", "hugesync_tasks/state/claim.lua",
        " or had[1] == 'recalled'", "",
        "tests/test_state_contract.py -k taken_back",
    ),
    Mutation(
        "a paused job sends nothing again", "producer/hugesync_producer/coordinator.py",
        "resend=not self._held", "resend=True",
        "tests/test_stopping.py",
    ),
    Mutation(
        "a pause outlives its coordinator", "producer/hugesync_producer/coordinator.py",
        'self._paused = self._ledger.meta(self._id).get("pause") == "1"', "self._paused = False",
        "tests/test_stopping.py",
    ),
    Mutation(
        "what hashes is not called stalled", "producer/hugesync_producer/observing.py",
        "(moved, worked, ", "(moved, 0, ",
        "tests/test_standing_still.py",
    ),
    Mutation(
        "a retry deletes nothing", "producer/hugesync_producer/coordinating.py",
        "        deletes.forgo(", "        str(",
        "tests/test_retry.py -k deleted",
    ),
    Mutation(
        "If-Match of Delete", "hugesync_tasks/stores/s3.py",
        'more = {"IfMatch": quoted(expected)} if conditional else {}', "more = {}",
        "tests/test_s3_wire.py tests/test_s3_store.py -k 'conditions or delete'",
    ),
    Mutation(
        "copy-source-if-match of a copied range", "hugesync_tasks/stores/s3_root.py",
        '{"CopySourceIfMatch": quoted(source_version)} if source_version else {}', "{}",
        "tests/test_s3_store.py -k copies",
    ),
    Mutation(
        "what came out of the EXCHANGE is compared", "hugesync_tasks/stores/local_commit.py",
        "if not same_content(out, before):", "if False:",
        "tests/test_local_store.py -k rival",
    ),
    Mutation(
        "RENAME_NOREPLACE of a new file", "hugesync_tasks/stores/local_commit.py",
        "self._conditional(folder, temp, name, kernel.RENAME_NOREPLACE)",
        "(os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder) or True)",
        "tests/test_store_contract.py -k 'absent or racing'",
    ),
    Mutation(
        "openat2's RESOLVE_NO_SYMLINKS and _BENEATH", "hugesync_tasks/stores/beneath.py",
        "path or b\".\", flags, _RESOLVE)", "path or b\".\", flags, 0)",
        "tests/test_local_store.py -k 'symlink or swapper'",
    ),
    Mutation(
        "O_NOFOLLOW of the walk", "hugesync_tasks/stores/beneath.py",
        "FOLDER if dir_fd is None else FOLDER | os.O_NOFOLLOW", "FOLDER",
        "tests/test_local_store.py -k 'symlink or swapper'",
    ),
    Mutation(
        "the fence of a renewal", "hugesync_tasks/state/renew.lua",
        "if not had[1] or tonumber(ARGV[1]) < tonumber(had[1]) or had[2] == ARGV[1] then", "if not had[1] then",
        "tests/test_state_contract.py -k 'zombie or renew'",
    ),
    Mutation(
        "the fence of a settling", "hugesync_tasks/state/settle.lua",
        "(ARGV[2] ~= '' and tonumber(ARGV[2]) < tonumber(attempts))", "false",
        "tests/test_state_contract.py -k 'zombie or sequence'",
    ),
    Mutation(
        "one claim at a time", "hugesync_tasks/state/claim.lua",
        "if had[4] ~= ARGV[1] then return {'BUSY'} end", "",
        "tests/test_state_contract.py -k 'claimed_once or racing_claims'",
    ),
    Mutation(
        "a part's generation and upload", "hugesync_tasks/state/part_done.lua",
        "if file[1] ~= ARGV[1] or (ARGV[2] ~= '' and file[2] ~= ARGV[2]) then return 'FENCED' end", "",
        "tests/test_state_contract.py -k fenced",
    ),
    Mutation(
        "other bytes for one part", "hugesync_tasks/state/part_done.lua",
        "if size1 ~= size2 or not same then return 'MISMATCH' end", "",
        "tests/test_state_contract.py -k mismatch",
    ),
    Mutation(
        "an epoch that is never used twice", "hugesync_tasks/state/take_over.lua",
        "math.max(now, tonumber(redis.call('HGET', KEYS[4], 'epoch') or 0) + 1)",
        "tonumber(redis.call('HGET', KEYS[4], 'epoch') or 0) + 1",
        "tests/test_state_contract.py -k dead_run",
    ),
    Mutation(
        "the committed size", "hugesync_tasks/stages/verify.py",
        "if commit.size != size:", "if False:",
        "tests/test_stages.py -k another_size",
    ),
    Mutation(
        "bytes read against the source's checksum", "hugesync_tasks/stages/verify.py",
        "if crc64nvme(body) != source.crc64:", "if False:",
        "tests/test_stages.py -k damaged",
    ),
    Mutation(
        "the checksum of the whole at Complete", "hugesync_tasks/stores/s3_uploads.py",
        'more |= {"ChecksumCRC64NVME": base64_of(crc64), "ChecksumType": "FULL_OBJECT"}', "pass",
        "tests/test_s3_store.py tests/test_store_contract.py -k wrong_checksum",
    ),
    Mutation(
        "fsync of a small file before its name", "hugesync_tasks/stores/local_batch.py",
        "                self._fsync(item)\n", "",
        "tests/test_local_store.py -k 'failed_sync or without_syncfs'",
    ),
    Mutation(
        "fdatasync of a part before its receipt", "hugesync_tasks/stores/local_upload.py",
        '    os.fdatasync(temp) if hasattr(os, "fdatasync") else os.fsync(temp)\n', "",
        "tests/test_durability.py -k receipt",
    ),
    Mutation(
        "fsync of the whole before its commit", "hugesync_tasks/stores/local_upload.py",
        "                os.fsync(temp)\n            with self.place", "            with self.place",
        "tests/test_durability.py -k commit",
    ),
    Mutation(
        "the source's fingerprint after it was read", "hugesync_tasks/stores/local_read.py",
        "                if self._at == self._end:\n                    unchanged(self._fd, self._st, self._key)\n", "",
        "tests/test_local_store.py -k 'changes_while_it_is_read'",
    ),
    Mutation(
        "the source's version at the commit", "hugesync_tasks/stages/commit.py",
        "if head is None or head.entry.version != large.source.version:", "if head is None:",
        "tests/test_stages.py -k changed_by_the_commit",
    ),
    Mutation(
        "our generation on what a lost reply left", "hugesync_tasks/stages/commit.py",
        "ours.meta.generation != upload.generation or ", "",
        "tests/test_stages.py -k 'makes_it_ours or lost_reply or rival'",
    ),
    Mutation(
        "the broker's certificate", "hugesync_tasks/celery.py",
        """return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required\"""", "return url",
        "tests/test_tls.py",
    ),
    Mutation(
        "re-dispatch of what was lost", "producer/hugesync_producer/dispatch.py",
        "        self.send((o.task, o.unit) for o, _ in lost)\n", "",
        "tests/test_dispatch.py",
    ),
    Mutation(
        "a signature's binding to its object", "hugesync_tasks/signature/format.py",
        "if expect is not None and not _binds(header.binding, expect):", "if False:",
        "tests/test_signature.py",
    ),
    Mutation(
        "a signature's own digest", "hugesync_tasks/signature/format.py",
        "if _exactly(take, _TRAILER) != body.digest():", "if not _exactly(take, _TRAILER):",
        "tests/test_signature.py",
    ),
    Mutation(
        "--inplace: the whole is proven before the first byte", "hugesync_tasks/stores/local_inplace.py",
        "    if crc != crc64:\n", "    if False:\n",
        "tests/test_inplace.py -k 'nothing_is_touched'",
    ),
    Mutation(
        "a delta is proven by the source's checksum", "hugesync_tasks/stages/commit.py",
        """    if of_parts is not None and of_parts != wanted:
        return None, "the parts do not add up to the source: a signature was wrong"
    return wanted, \"\"
""", """    return of_parts, \"\"
""",
        "tests/test_lying_signature.py",
    ),
    Mutation(
        "an intent's generation", "hugesync_tasks/stages/intents.py",
        "if upload is None or (upload.key, upload.generation, upload.size) != (key, generation, size):",
        "if upload is None:",
        "tests/test_stages.py -k intent",
    ),
    Mutation(
        "an adopted part's checksum", "hugesync_tasks/stages/parts.py",
        "return listed.crc64 == int(crc64nvme(body))", "return True",
        "tests/test_stages.py -k adopted",
    ),
    Mutation(
        "an intent before the first part", "hugesync_tasks/stages/begin.py",
        "        put_intent(job.dest, upload, token)\n    except", "    except",
        "tests/test_stages.py -k 'second_begin or intent'",
    ),
    Mutation(
        "the lease of who writes a checkpoint", "hugesync_tasks/state/checkpoint.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end", "",
        "tests/test_state_contract.py -k checkpoint",
    ),
    Mutation(
        "what a lost reply of a compose left is taken away", "hugesync_tasks/stages/commit.py",
        "if done.litter:", "if False:",
        "tests/test_crash_matrix.py -k google",
    ),
    Mutation(
        "what is taken over whole may be larger than a part", "hugesync_tasks/layout.py",
        "largest = limits.max_size", "pass",
        "tests/test_pieces.py",
    ),
    Mutation(
        "If-Match of a commit and a put on Azure", "hugesync_tasks/stores/azure_root.py",
        'return {} if expected == ANY else {"If-Match": quoted(expected)}', "return {}",
        "tests/test_crash_matrix.py tests/test_azure_store.py -k 'google or refused or rival or conflict'",
    ),
    Mutation(
        "the bandwidth of what is sent in slices", "hugesync_tasks/stores/paced_body.py",
        "self._token.pay(len(chunk))", "pass",
        "tests/test_bandwidth.py -k paid_for",
    ),
    Mutation(
        "the lease of what waits for its bandwidth", "hugesync_tasks/bandwidth.py",
        "token.alive()", "pass",
        "tests/test_bandwidth.py -k lease",
    ),
    Mutation(
        "a folder of the destination that a filter keeps closed keeps what it lies in", "producer/hugesync_producer/extras.py",
        "        heappush(self._passed_over, folder)", "        pass",
        "tests/test_rsync_filters.py -k recorded",
    ),
    Mutation(
        "a rule of the sender's protects nothing", "producer/hugesync_producer/filters.py",
        'if "r" in (rule[0] if delete_excluded else of_sides(rule[0]))', 'if not delete_excluded or "r" in rule[0]',
        "tests/test_rsync_filters.py -k recorded",
    ),
    Mutation(
        "what lies in a protected folder that the source lacks", "producer/hugesync_producer/extras.py",
        "if around.protected or (dest.kind", "if (dest.kind",
        "tests/test_rsync_filters.py -k recorded",
    ),
    Mutation(
        "perishable rules hold but in a folder that goes", "producer/hugesync_producer/filters.py",
        "if not (doomed and rule.perishable) and", "if not rule.perishable and",
        "tests/test_rsync_filters.py -k recorded",
    ),
    Mutation(
        "what is named in an excluded folder is left out", "producer/hugesync_producer/filters.py",
        " and (not self._named or self._entered(entry.key))", "",
        "tests/test_named.py -k filter",
    ),
    Mutation(
        "what is missing is in the checkpoint", "producer/hugesync_producer/window.py",
        '            **({"missing": self.missing} if self.missing else {}),\n', "",
        "tests/test_files_from.py -k survives",
    ),
    Mutation(
        "a manifest that was cut short is refused", "producer/hugesync_producer/namelist_read.py",
        "    if end is None or end != entries:", "    if False:",
        "tests/test_namelist.py -k whole_manifest",
    ),
    Mutation(
        "the list of a job is part of what it is", "producer/hugesync_producer/selecting.py",
        "    if not selection.listed:\n", "    if True:\n",
        "tests/test_job_identity.py -k list",
    ),
    Mutation(
        "a list that is not what it was is not gone on with", "producer/hugesync_producer/keptnames.py",
        "    if not names.whole():", "    if False:",
        "tests/test_files_from.py -k 'ledger_has or folder_has'",
    ),
    Mutation(
        "--delete with a list of names is refused", "producer/hugesync_producer/selecting.py",
        "    if selection.listed and options.delete:", "    if False:",
        "tests/test_job_identity.py -k list",
    ),
    Mutation(
        "what was given back is no attempt", "hugesync_tasks/state/memory.py",
        "record.attempts - record.given >= max_attempts", "record.attempts >= max_attempts",
        "tests/test_state_contract.py tests/test_simulation.py -k 'given_back or drained'",
    ),
    Mutation(
        "a renewal that is under way takes nothing back", "hugesync_tasks/state/renew.lua",
        " or had[2] == ARGV[1] then", " then",
        "tests/test_state_contract.py -k given_back",
    ),
    Mutation(
        "a worker that ends begins no further file of a batch", "hugesync_tasks/stages/execute.py",
        "                if draining.leaving():\n                    return None\n", "",
        "tests/test_draining.py",
    ),
    Mutation(
        "what a batch has finished when it is left has its receipts", "hugesync_tasks/stages/execute.py",
        "        except Returned:\n            return None\n", "",
        "tests/test_draining.py",
    ),
    Mutation(
        "a part in hand is let go in time", "hugesync_tasks/lease.py",
        "if draining.leaving(self._stays):", "if False:",
        "tests/test_draining.py",
    ),
    Mutation(
        "a signal to all of a worker leaves its children to their parent", "hugesync_tasks/consumer.py",
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "",
        "tests/test_drain_live.py -k does_not_finish",
    ),
    Mutation(
        "what is killed at a second signal is free at once", "hugesync_tasks/leaving.py",
        "expire_leases(ledger, job, [task])", "pass",
        "tests/test_drain_live.py -k does_not_finish",
    ),
    Mutation(
        "a paused worker takes nothing", "hugesync_tasks/slots.py",
        "< min(self.now, staying)", "< staying",
        "tests/test_scale.py -k grows",
    ),
    Mutation(
        "a job whose workers are paused is not stalled", "producer/hugesync_producer/pool.py",
        "or not out or paused:", "or not out:",
        "tests/test_scale.py -k all_paused",
    ),
    Mutation(
        "the limit of an ancestor's control group holds", "worker/hugesync_worker/cgroups.py",
        "            if level == mount:\n", "            if True:\n",
        "tests/test_resources.py",
    ),
    Mutation(
        "what a person said stands above autoscaling", "hugesync_tasks/scaler.py",
        "if self._slots.wished:", "if False:",
        "tests/test_autoscale.py",
    ),
)  # fmt: skip


def copy_of_the_tree(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def survives(mutation: Mutation, folder: Path) -> str:
    """The first test that fails without the safety; "" where none does. Raises ValueError where the patch does not fit, or
    the tests fail with the safety, too: then their failure would show nothing."""
    path = folder / mutation.file
    text = path.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file} has {text.count(mutation.old)} times {mutation.old!r}")
    if failed := first_failure(mutation.tests, folder):
        raise ValueError(f"{failed} fails with the safety, too")
    path.write_text(text.replace(mutation.old, mutation.new))
    try:
        return first_failure(mutation.tests, folder)
    finally:
        path.write_text(text)


def first_failure(tests: str, folder: Path) -> str:
    """Run ``tests`` in the copy; the first that fails, "" where all pass. Raises ValueError where none was run."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "120"]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ran = subprocess.run(
            [*command, *shlex.split(tests)], cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return "(it hangs)"
    if ran.returncode not in (0, 1):
        raise ValueError(f"pytest ended with {ran.returncode}: {ran.stdout[-600:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", ran.stdout, re.MULTILINE)
    return failed[1] if failed else ""


def main(names: list[str]) -> int:
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="hsmut") as folder:
        copy_of_the_tree(Path(folder))
        print("| without | this test fails |\n| --- | --- |", flush=True)
        for mutation in MUTATIONS:
            if names and not any(name in mutation.safety for name in names):
                continue
            try:
                killer = survives(mutation, Path(folder))
            except ValueError as error:
                killer, wrong = f"CANNOT TELL: {error}", wrong + 1
            else:
                wrong += not killer
            print(f"| {mutation.safety} | {killer.partition('::')[2] or killer or 'NONE: IT SURVIVES'} |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
