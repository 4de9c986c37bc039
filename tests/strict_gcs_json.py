"""The JSON API of the strict fake of Google Cloud Storage: which request does what to the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from strict_gcs_list import page, read_fields, take
from strict_gcs_rewrite import Rewrites, compose
from strict_gcs_rules import MAX_PAGE, Refused, invalid, no_object
from strict_gcs_state import Conditions, State, Version, int64, stamp
from strict_gcs_uploads import Uploads, json_object
from strict_gcs_wire import Reply, Request, as_json, decoded, media

_ALWAYS = {"alt", "fields", "prettyPrint", "projection", "userProject", "key", "quotaUser"}
_IF = {"ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch"}
_SOURCE_IF = {name.replace("if", "ifSource", 1) for name in _IF}
_OBJECT = _IF | {"generation"}
_UPLOAD = _IF | {"uploadType", "upload_id", "name", "predefinedAcl", "contentEncoding", "kmsKeyName"}
_LIST = {
    *("prefix", "delimiter", "pageToken", "maxResults", "startOffset", "endOffset", "includeTrailingDelimiter"),
    *("versions", "includeFoldersAsPrefixes", "softDeleted"),
}
_COMPOSE = {"ifGenerationMatch", "ifMetagenerationMatch", "destinationPredefinedAcl", "kmsKeyName"}
_REWRITE = (
    _IF
    | _SOURCE_IF
    | {"sourceGeneration", "rewriteToken", "maxBytesRewrittenPerCall", "destinationPredefinedAcl"}
    | {"destinationKmsKeyName"}
)


class JsonApi:
    def __init__(self, state: State, endpoint: str, page_size: int, bytes_per_call: int) -> None:
        self.state, self._endpoint, self._page_size = state, endpoint, page_size
        self.uploads = Uploads(state)
        self._rewrites = Rewrites(state, bytes_per_call)

    def answer(self, request: Request) -> Reply:
        """Raises Refused with what Google would say."""
        head, _, path = request.path.partition("/storage/v1/")
        parts = tuple(path.split("/"))
        if head == "/upload":
            return self._upload(parts, request)
        if head not in ("", "/download"):
            raise Refused(404, "notFound", "Not Found")
        match (request.method, *parts):
            case ("GET", "b"):
                return as_json(
                    {"kind": "storage#buckets", "items": [self._bucket(name) for name in self.state.buckets]}
                )
            case ("POST", "b"):
                return self._new_bucket(request)
            case ("GET", "b", bucket):
                return as_json(self._bucket(decoded(bucket)))
            case ("GET", "b", bucket, "o"):
                return self._list(decoded(bucket), request)
            case (_, "b", bucket, "o", name):
                return self._object(decoded(bucket), decoded(name), request)
            case ("POST", "b", bucket, "o", name, "compose"):
                known(request, _COMPOSE)
                return self._shown(compose(self.state, decoded(bucket), decoded(name), request), request)
            case ("POST", "b", source, "o", name, "rewriteTo", "b", target, "o", new):
                known(request, _REWRITE)
                done = self._rewrites.step((decoded(source), decoded(name)), (decoded(target), decoded(new)), request)
                if "resource" in done:
                    done["resource"] = resource(done["resource"], self._endpoint)
                return as_json(done)
        raise Refused(404, "notFound", "Not Found")

    def _object(self, bucket: str, name: str, request: Request) -> Reply:
        known(request, _OBJECT)
        found = self.state.live(bucket, name)
        generation = int64(request.query, "generation")
        if found is None or generation not in (None, found.generation):
            raise no_object(bucket, name)
        if request.method != "GET":
            self.state.mutate(bucket, name)
        Conditions.of(request.query, request.headers).check(found)
        if request.method == "GET":
            alt = request.query.get("alt", "json")
            if alt not in ("json", "media"):
                raise invalid(f"Invalid value for alt: {alt}", "alt")
            return media(found, request.headers) if alt == "media" else self._shown(found, request)
        if request.method == "DELETE":
            self.state.delete(found)
            return Reply(204)
        if request.method in ("PATCH", "PUT"):
            given = json_object(request.body)
            return self._shown(self.state.update(found, given, whole=request.method == "PUT"), request)
        raise Refused(405, "methodNotAllowed", "Method Not Allowed")

    def _upload(self, parts: tuple[str, ...], request: Request) -> Reply:
        if len(parts) != 3 or (parts[0], parts[2]) != ("b", "o"):
            raise Refused(404, "notFound", "Not Found")
        known(request, _UPLOAD)
        bucket, way, upload_id = decoded(parts[1]), request.query.get("uploadType"), request.query.get("upload_id")
        match (request.method, way):
            case ("POST", "media"):
                return self._shown(self.uploads.media(bucket, request), request)
            case ("POST", "multipart"):
                return self._shown(self.uploads.multipart(bucket, request), request)
            case ("POST", "resumable") if upload_id is None:
                upload_id = self.uploads.begin(bucket, request)
                where = f"{self._endpoint}{request.path}?uploadType=resumable&upload_id={upload_id}"
                return Reply(200, {"Location": where, "X-GUploader-UploadID": upload_id})
            case ("PUT" | "POST", _) if upload_id is not None:
                done = self.uploads.proceed(upload_id, request)
                return done if isinstance(done, Reply) else self._shown(done, request)
            case ("DELETE", _) if upload_id is not None:
                return self.uploads.cancel(upload_id)
        raise invalid("Bad Request", "uploadType")

    def _list(self, bucket: str, request: Request) -> Reply:
        known(request, _LIST)
        query = request.query
        asked = int64(query, "maxResults")
        if asked == 0:
            raise invalid("Invalid value for maxResults: 0", "maxResults")
        found = page(
            self.state.bucket(bucket).values(),
            min(asked or MAX_PAGE, MAX_PAGE, self._page_size),
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            start=query.get("startOffset", ""),
            end=query.get("endOffset", ""),
            token=query.get("pageToken", ""),
            trailing=query.get("includeTrailingDelimiter") == "true",
        )
        document: dict[str, Any] = {"kind": "storage#objects"}
        if found.token:
            document["nextPageToken"] = found.token
        if found.prefixes:
            document["prefixes"] = list(found.prefixes)
        if found.items:
            document["items"] = [resource(version, self._endpoint) for version in found.items]
        return as_json(take(document, read_fields(query["fields"])) if "fields" in query else document)

    def _shown(self, version: Version, request: Request) -> Reply:
        document = resource(version, self._endpoint)
        if "fields" in request.query:
            document = take(document, read_fields(request.query["fields"]))
        return as_json(document, headers={"ETag": version.etag})

    def _new_bucket(self, request: Request) -> Reply:
        given = json_object(request.body)
        name = given.get("name")
        if not isinstance(name, str) or not 3 <= len(name) <= 222:
            raise invalid(f"Invalid bucket name: '{name}'")
        if name in self.state.buckets:
            raise Refused(
                409, "conflict", "Your previous request to create the named bucket succeeded and you already own it."
            )
        self.state.buckets[name], self.state.bucket_fields[name] = {}, given
        return as_json(self._bucket(name))

    def _bucket(self, name: str) -> dict[str, Any]:
        self.state.bucket(name)
        return {
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "selfLink": f"{self._endpoint}/storage/v1/b/{name}",
            "projectNumber": "1",
            "metageneration": "1",
            "location": "US",
            "locationType": "multi-region",
            "storageClass": "STANDARD",
            "etag": "CAE=",
            "timeCreated": stamp(0),
            "updated": stamp(0),
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
            "softDeletePolicy": {"retentionDurationSeconds": "604800", "effectiveTime": stamp(0)},
            **self.state.bucket_fields[name],
        }


def known(request: Request, names: set[str]) -> None:
    """A parameter this fake does not know is refused, where Google might ignore it: a misspelt condition is no condition."""
    strange = request.query.keys() - names - _ALWAYS
    if strange:
        raise invalid(f"Unknown parameter: {', '.join(sorted(strange))} (refused by the strict fake)", min(strange))
    if request.query.get("projection", "noAcl") not in ("noAcl", "full"):
        raise invalid("Invalid value for projection", "projection")


def resource(version: Version, endpoint: str) -> dict[str, Any]:
    """An object as the JSON API shows it: 64-bit numbers are strings, what is not set is absent."""
    name, bucket = quote(version.name, safe=""), version.bucket
    link = f"/storage/v1/b/{bucket}/o/{name}"
    shown: Mapping[str, Any] = {
        "kind": "storage#object",
        "id": f"{bucket}/{version.name}/{version.generation}",
        "selfLink": f"{endpoint}{link}",
        "mediaLink": f"{endpoint}/download{link}?generation={version.generation}&alt=media",
        "name": version.name,
        "bucket": bucket,
        "generation": str(version.generation),
        "metageneration": str(version.metageneration),
        "storageClass": version.storage_class,
        "kmsKeyName": version.kms_key or None,
        "size": str(len(version.data)),
        "md5Hash": version.md5,
        "crc32c": version.crc,
        "componentCount": version.components or None,
        "etag": version.etag,
        "timeCreated": stamp(version.created),
        "updated": stamp(version.updated),
        "timeStorageClassUpdated": stamp(version.created),
        "timeFinalized": stamp(version.created),
        "metadata": dict(version.metadata) or None,
        **version.fields,
    }
    return {key: value for key, value in shown.items() if value is not None}
