"""Layer 3, feed process, hot: picows' callbacks straight into a FrameSink.

Registered with picows as a compiled listener: no Python object is made for a frame. `recv_ns` is
taken once per socket read, before its first frame, so that queueing in our buffers is visible.
"""

from libc.stdint cimport int64_t, uint8_t

from kite_hft._sink cimport FrameSink
from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

cdef extern from "atomics.h" nogil:
    int64_t monotonic_ns()


cdef class FrameListener(WSListener):
    """One connection's listener. connected(transport) and disconnected(transport): Python callables."""

    cdef FrameSink sink
    cdef object connected
    cdef object disconnected
    cdef int64_t recv_ns
    cdef bint mid_read

    def __init__(self, sink: FrameSink, connected: object, disconnected: object):
        self.sink = sink
        self.connected = connected
        self.disconnected = disconnected
        self.mid_read = False

    cpdef on_ws_connected(self, WSTransport transport):
        self.connected(transport)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if not self.mid_read:
            self.recv_ns = monotonic_ns()
        self.mid_read = not frame.last_in_buffer
        if frame.msg_type == WSMsgType.BINARY:
            self.sink.on_frame(
                <const uint8_t*> frame.payload_ptr, frame.payload_size, self.recv_ns, frame.last_in_buffer
            )
            return
        if frame.msg_type == WSMsgType.TEXT:
            self.sink.on_text(<const uint8_t*> frame.payload_ptr, frame.payload_size, self.recv_ns)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        if frame.last_in_buffer:
            self.sink.end_of_read()

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.disconnected(transport)
