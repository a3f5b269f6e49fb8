"""Layer 6, campaigns, cold: a library that writes down what processes connect to and send, below Python.

Compiled here and loaded by LD_PRELOAD into every process of an engine: each connect(), and the first line of
each HTTP request, whatever event loop or library it goes through.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kite_hft.verify.campaign import CampaignError

SHIM: Final = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("KHFT_AUDIT");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (fd >= 0) { log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 700); close(fd); }
}

static void say(const char *text, int n) {
    if (log_fd >= 0 && n > 0) syscall(SYS_write, log_fd, text, n);
}

static void sent(int fd, const void *data, size_t size) {
    static const char *verbs[] = {"GET /", "POST /", "PUT /", "DELETE /"};
    const char *text = data;
    char line[256];
    for (int i = 0; data && i < 4; i++) {
        size_t n = strlen(verbs[i]);
        if (size < n || memcmp(text, verbs[i], n)) continue;
        size_t end = 0;
        while (end < size && end < 180 && text[end] != '\r' && text[end] != '\n') end++;
        say(line, snprintf(line, sizeof line, "S %d %d %.*s\n", getpid(), fd, (int)end, text));
        return;
    }
}

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    char host[INET6_ADDRSTRLEN] = "", line[256];
    int port = 0;
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    if (to && to->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)to;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        port = ntohs(in->sin_port);
    } else if (to && to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)to;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        port = ntohs(in->sin6_port);
    }
    if (port) say(line, snprintf(line, sizeof line, "C %d %d %s %d\n", getpid(), fd, host, port));
    return real(fd, to, size);
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    static ssize_t (*real)(int, const void *, size_t, int);
    if (!real) real = dlsym(RTLD_NEXT, "send");
    sent(fd, data, size);
    return real(fd, data, size, flags);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    sent(fd, data, size);
    return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) real = dlsym(RTLD_NEXT, "writev");
    if (n > 0) sent(fd, parts[0].iov_base, parts[0].iov_len);
    return real(fd, parts, n);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static ssize_t (*real)(int, const struct msghdr *, int);
    if (!real) real = dlsym(RTLD_NEXT, "sendmsg");
    if (message && message->msg_iovlen) sent(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
    return real(fd, message, flags);
}
"""


@dataclass(slots=True)
class Seen:
    """What the library wrote down. connects: (pid, port); requests: (pid, method, path)."""

    connects: list[tuple[int, int]] = field(default_factory=list)
    requests: list[tuple[int, str, str]] = field(default_factory=list)


def seen_in(text: str) -> Seen:
    """The log's lines."""
    seen = Seen()
    for line in text.splitlines():
        kind, pid, *rest = line.split(" ")
        if kind == "C":
            seen.connects.append((int(pid), int(rest[2])))
        elif kind == "S" and len(rest) >= 3:
            seen.requests.append((int(pid), rest[1], rest[2]))
    return seen


def compiled(folder: Path) -> Path:
    """The library.

    Raises:
        CampaignError: there is no C compiler, or it fails.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CampaignError("no C compiler: apt install gcc")
    source, library = folder / "audit.c", folder / "audit.so"
    source.write_text(SHIM)
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CampaignError(f"the library was not compiled: {done.stderr[-400:]}")
    return library


def own_eyes(environment: Mapping[str, str], port: int, log: Path) -> None:
    """A program that does what nobody may: the library has to see it. Its lines are forgotten then.

    Raises:
        CampaignError: it was not seen.
    """
    code = (
        "import socket\n"
        f"s = socket.create_connection(('127.0.0.1', {port}))\n"
        "s.sendall(b'DELETE /nothing HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "s.recv(100)"
    )
    subprocess.run([sys.executable, "-c", code], env=dict(environment), check=True, timeout=30)
    seen = seen_in(log.read_text())
    if not any(to == port for _, to in seen.connects) or not any(v == "DELETE" for _, v, _ in seen.requests):
        raise CampaignError("the library is blind: a connection made on purpose was not written down")
    os.truncate(log, 0)
