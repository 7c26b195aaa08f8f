"""AWS on this machine: ministack, completed by what this project needs of AWS and ministack lacks.

Run as ``python -m localaws up|down|reset|status``. A file a service: each extension module has
``register()``, which hooks its service into ministack, and may have ``start(settings)``, ``stop()``
and ``check()`` for parts with a life of their own (PostgreSQL, Glue runs). Nothing outside this
package imports it; it is reached over HTTP, as AWS is.
"""
