"""Layer 1, orders process, hot: a file that is asked for before each call that opens something.

`os.lstat` of a missing file makes an exception: four times as long as the system call.
"""

cdef extern from "<errno.h>" nogil:
    int errno
    int ENOENT

cdef extern from "<sys/stat.h>" nogil:
    struct stat:
        pass
    int lstat(const char* path, stat* found)


cdef class Look:
    """Asks for a file as often as it is called: `absent` only when the system says that there is no such file,
    for every other answer what `there()` says. A link that leads nowhere is there.

    gone(): called when it is not there and was before. absent: "", unless told otherwise.
    """

    cdef bytes path
    cdef object there, gone
    cdef public str absent
    cdef bint seen

    def __init__(self, path: bytes, there: object, gone: object):
        self.path, self.there, self.gone = path, there, gone
        self.absent = ""

    def __call__(self) -> str:
        cdef stat found
        if lstat(self.path, &found) != 0 and errno == ENOENT:
            if self.seen:
                self.seen = False
                self.gone()
            return self.absent
        self.seen = True
        return self.there()
