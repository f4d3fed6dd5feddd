"""How busy this machine is: processor, memory, disk and network."""

import os
import time

import psutil


class Machine:
    """Samples the machine every `seconds`; rates are means since the sample before."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._process = psutil.Process(os.getpid())
        self._last = time.monotonic()
        self._counters = self._count()
        psutil.cpu_percent()  # the first call has nothing to compare with

    def sample(self) -> dict[str, float]:
        """The figures by name, {} when the last sample is younger than `seconds`."""
        now = time.monotonic()
        elapsed = now - self._last
        if elapsed < self.seconds:
            return {}
        memory, counters = psutil.virtual_memory(), self._count()
        rates = {name: (count - self._counters[name]) / 1e6 / elapsed for name, count in counters.items()}
        self._last, self._counters = now, counters
        return {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": memory.percent,
            "memory_used_gb": memory.used / 1e9,
            "rank0_memory_gb": self._process.memory_info().rss / 1e9,
            "disk_used_percent": psutil.disk_usage(os.getcwd()).percent,  # noqa: PTH109
            **rates,
        }

    @staticmethod
    def _count() -> dict[str, float]:
        """Bytes since boot; some containers show no disks or networks."""
        network, disk = psutil.net_io_counters(), psutil.disk_io_counters()
        return {
            "net_sent_mb_s": network.bytes_sent if network else 0,
            "net_received_mb_s": network.bytes_recv if network else 0,
            "disk_read_mb_s": disk.read_bytes if disk else 0,
            "disk_written_mb_s": disk.write_bytes if disk else 0,
        }
