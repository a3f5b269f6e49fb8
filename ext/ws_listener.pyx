"""Layer 3, feed process, hot: picows' callbacks straight into a FrameSink.

Registered with picows as a compiled listener: no Python object is made for a frame. `recv_ns` is
taken once per socket read, before its first frame, so that queueing in our buffers is visible.
Every frame passes here, pings of the server too (picows' own answer to them would hide the end of a
read): whatever stands last in a read, what was staged is handed on.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t

from kite_hft._sink cimport FrameSink
from picows.picows cimport WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

cdef extern from "atomics.h" nogil:
    int64_t monotonic_ns()

cdef enum:
    MESSAGE_BYTES_MAX = 16 << 20


@cython.final
cdef class FrameListener(WSListener):
    """One connection's listener.

    connected(transport), disconnected(transport), ponged(), pinged(): Python callables. Register it
    with `enable_auto_pong=False`: pings are answered here.
    """

    cdef FrameSink sink
    cdef object connected, disconnected, ponged, pinged
    cdef bytearray parts  # of a message that comes in several frames, or None
    cdef bint parts_binary
    cdef int64_t recv_ns
    cdef bint mid_read

    def __init__(
        self, sink: FrameSink, connected: object, disconnected: object, ponged: object, pinged: object
    ):
        self.sink = sink
        self.connected = connected
        self.disconnected = disconnected
        self.ponged = ponged
        self.pinged = pinged
        self.parts = None
        self.mid_read = False

    cpdef on_ws_connected(self, WSTransport transport):
        self.connected(transport)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if not self.mid_read:
            self.recv_ns = monotonic_ns()
        self.mid_read = not frame.last_in_buffer
        # Ticks first, and alone in this function: whatever else may come costs them no register.
        if frame.msg_type == WSMsgType.BINARY and frame.fin:
            self.sink.on_frame(
                <const uint8_t*> frame.payload_ptr, frame.payload_size, self.recv_ns, frame.last_in_buffer
            )
        else:
            self.on_other(transport, frame)

    cdef int on_other(self, WSTransport transport, WSFrame frame) except -1:
        """Whatever is no whole binary message."""
        cdef WSCloseCode code
        if frame.msg_type == WSMsgType.TEXT and frame.fin:
            self.sink.on_text(<const uint8_t*> frame.payload_ptr, frame.payload_size, self.recv_ns)
        elif frame.msg_type == WSMsgType.PONG:
            self.ponged()
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            self.pinged()
        elif frame.msg_type == WSMsgType.CLOSE:
            # No code in the frame: none may be sent back as such (RFC 6455, 7.4.1).
            code = frame.get_close_code()
            transport.send_close(code if code != WSCloseCode.NO_INFO else WSCloseCode.OK)
            transport.disconnect()
        else:
            self.on_part(frame)
        if frame.last_in_buffer:
            self.sink.end_of_read()
        return 0

    cdef int on_part(self, WSFrame frame) except -1:
        """A message in several frames (RFC 6455, 5.4); it counts when its last part is here."""
        cdef const uint8_t* whole
        if frame.msg_type != WSMsgType.CONTINUATION:
            self.parts = bytearray()
            self.parts_binary = frame.msg_type == WSMsgType.BINARY
        if self.parts is None or len(self.parts) + frame.payload_size > MESSAGE_BYTES_MAX:
            raise ValueError("a continuation of nothing, or a message beyond every size")
        self.parts += frame.get_payload_as_bytes()
        if frame.fin:
            message, self.parts = self.parts, None
            whole = message
            if self.parts_binary:
                self.sink.on_frame(whole, len(message), self.recv_ns, False)
            else:
                self.sink.on_text(whole, len(message), self.recv_ns)
        return 0

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.disconnected(transport)
