"""``hugesync preflight``: what this machine and both ends can do, what a job should be told, and how long it will take.

    host, cgroup, disks              what the machine is                           (reads /proc, /sys)
    survey                           sizes of the source, listing rates            (lists both ends)
    samples, localend, storeend      one operation at an end (reads SRC; writes what never becomes visible at DST)
    ladder, allowance                operations at 1, 2, 4, 8 streams until the knee; for how long, with how many bytes
    measure                          one end, in order
    traces, watchdog, removal        whatever was begun goes, however this process ends
    knee, speed, recommend, estimate, blockers    what follows: pure, over ``values``
    run, report, wording             all of it in order; as JSON and applied to a job; what a person reads

A source is only read.
"""
