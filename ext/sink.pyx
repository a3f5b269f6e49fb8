"""Layer 3, feed process, hot: the two abstract classes between a socket and the records.

`Decoder` is a broker's wire format as one C method; `FrameSink` is whoever wants frames.
Both are shared cdef classes: a call through them costs a C virtual call, no Python object.
"""

from libc.stdint cimport int64_t, uint8_t

from khft_layout cimport khft_tick_t


cdef class Decoder:
    """Binary frames to TICK records.

    aux: where it leaves AUX records, or NULL: it makes none. heartbeat_bytes: size of the binary
    frame that is the broker's heartbeat and no message; 0: there is none.
    """

    cdef int decode(
        self, const uint8_t* frame, size_t size, int64_t recv_ns,
        khft_tick_t* out, int capacity, size_t* cursor
    ) noexcept nogil:
        """Decode from `cursor[0]` on, at most `capacity` ticks; returns how many were written.

        A frame is finished when `cursor[0] == size`; call again with the same frame until then
        (start with 0). What is malformed is counted by the decoder and never raises.
        """
        cursor[0] = size
        return 0


cdef class FrameSink:
    """Receives the frames of one connection, in order, on one thread."""

    cdef int on_frame(
        self, const uint8_t* frame, size_t size, int64_t recv_ns, bint last
    ) except -1:
        """One binary frame; `last`: no further frame is buffered from this socket read."""
        raise NotImplementedError("a FrameSink must say what it does with a frame")

    cdef int on_text(self, const uint8_t* text, size_t size, int64_t recv_ns) except -1:
        """One text frame, whole."""
        raise NotImplementedError("a FrameSink must say what it does with a text frame")

    cdef int end_of_read(self) except -1:
        """The socket read ended in something else than a binary frame: hand on what is staged."""
        return 0

    def feed_bytes(self, frame: bytes, int64_t recv_ns, bint last=True) -> None:
        """Hand over one binary frame from Python: tests, replay and the simulated world."""
        cdef const uint8_t* data = <const uint8_t*> frame
        self.on_frame(data, len(frame), recv_ns, last)

    def feed_text(self, text: bytes, int64_t recv_ns) -> None:
        """Hand over one text frame from Python."""
        cdef const uint8_t* data = <const uint8_t*> text
        self.on_text(data, len(text), recv_ns)
