"""Text-to-audio training at cluster scale."""

import os

__version__ = "0.1.0"

# Read by OpenMP when torch is loaded. Threads that wait by spinning take the cores from those that they wait for as
# soon as anything else runs on the machine: a small codec then codes ten times slower on two threads than on one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A moment of spinning, though: the next small operation comes at once, and waking a thread costs more than many take.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
