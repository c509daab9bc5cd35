"""
The program that ``twistd spaceswarm-proxy`` runs, and the service in it, for programs of your own.

* ``settings``: what it can be told, on the command line or in a file;
* ``options``: its command line;
* ``listening``: what the endpoints' texts say about who can reach them;
* ``proxy``: the service;
* ``metrics``: what operators watch;
* ``process``: what it does with a process of its own: signals, file descriptors, exit code.
"""

from spaceswarm_proxy.service.options import Options
from spaceswarm_proxy.service.process import makeService
from spaceswarm_proxy.service.proxy import SpaceswarmProxyService, StartError
from spaceswarm_proxy.service.settings import Settings, SettingsError

__all__ = ["Options", "Settings", "SettingsError", "SpaceswarmProxyService", "StartError", "makeService"]
