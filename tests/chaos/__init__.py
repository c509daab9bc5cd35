"""
Faults at random, and whether everybody finds back.

* ``schedule``: a seed -> what goes wrong, where, and for how long; pure;
* ``world``: the processes and links of a private network, and how each fault is done to them;
* ``weather``, ``links``: datagrams that are lost, and carriers that are cut or stand still;
* ``checker``: does everybody reach everybody again?

``python -m tests.chaos --seed 7 --seconds 600`` runs it; ``tests/interop/test_chaos.py`` does so for a minute.
"""
