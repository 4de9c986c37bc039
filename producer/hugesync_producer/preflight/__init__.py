"""``hugesync preflight``: what this machine and both ends can do, what a job should be told, and how long it will take.

    host, disks        what the machine is                                    (reads /proc, /sys)
    survey             sizes of the source, listing rates                     (lists both ends)
    localend, storeend what one operation at an end costs                     (reads SRC; writes what never becomes visible at DST)
    ladder             operations at 1, 2, 4, 8 streams until the knee
    traces, watchdog   whatever was begun goes, however this process ends
    blockers, recommend, estimate                                             pure, over ``values``
    run, wording       all of it in order; what a person reads

A source is only read.
"""
