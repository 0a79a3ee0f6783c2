"""Writes messages from three threads to stdout, while the system takes a few bytes at a time."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "kits", "python"))

from sluice_worker import channel as under_test

write = os.write


def write_a_piece(fd, data):
    # The sleep lets another thread go on.
    time.sleep(0)
    return write(fd, data[:7])


under_test.os.write = write_a_piece
channel = under_test.Channel(0, 1)


def talk(name):
    for n in range(20):
        channel.send({"method": "log", "params": [name, n]})


threads = [threading.Thread(target=talk, args=(name,)) for name in "abc"]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
