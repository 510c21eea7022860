"""Questions somebody waits for, over core NATS: a request, frames on the way, one final answer."""

from libs.common.rpc.client import Client
from libs.common.rpc.job import Job
from libs.common.rpc.server import Server, respond

__all__ = ["Client", "Job", "Server", "respond"]
