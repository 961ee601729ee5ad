package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/names"
)

const (
	// perSecond is how many queries of one namespace are read. Beyond, they wait in the socket and are dropped there, where it
	// costs others nothing.
	perSecond = 20_000
	// whileFlooded is how many once they are dropped there: who waits for answers never has so many on the way.
	whileFlooded = 2_000
	// mostConns are open to one namespace; then the one that has been silent for longest is closed.
	mostConns = 64
	// silence ends a connection (RFC 7766, section 6.2.3: a few seconds).
	silence = 5 * time.Second
)

// server answers in one namespace.
type server struct {
	space   names.Space
	handler Handler
	sockets

	ctx    context.Context
	cancel context.CancelFunc
	conns  conns
	// streamed is the pace of all connections together.
	streamed sharedPace
}

func newServer(space names.Space, s sockets, handler Handler) *server {
	ctx, cancel := context.WithCancel(context.Background())
	v := &server{space: space, handler: handler, sockets: s, ctx: ctx, cancel: cancel, streamed: sharedPace{pace: pace{perSecond: perSecond}}}
	go v.serveUDP()
	go v.serveTCP()
	return v
}

// stop closes the sockets and what came in by them.
func (v *server) stop() {
	v.cancel()
	v.sockets.close()
	v.conns.closeAll()
}

func (v *server) serveUDP() {
	buffer, control := make([]byte, maxUDP), make([]byte, unix.CmsgSpace(4))
	pace := pace{perSecond: perSecond, flooded: whileFlooded}
	for {
		n, controlled, _, from, err := v.udp.ReadMsgUDPAddrPort(buffer, control)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(time.Millisecond) // an ICMP error of an earlier answer, or no memory
			continue
		}
		pace.note(droppedBefore(control[:controlled]))
		pace.take()
		query, answer := screen(buffer[:n])
		if query == nil {
			v.send(answer, dns.MinMsgSize, from)
			continue
		}
		go func() { v.send(v.handler.Answer(v.ctx, Query{query, v.space}), sizeFor(query), from) }()
	}
}

// droppedBefore is how many datagrams the socket had no room for by the time that one came (SO_RXQ_OVFL, socket(7)).
func droppedBefore(control []byte) uint32 {
	if len(control) == 0 {
		return 0 // none yet
	}
	header, data, _, err := unix.ParseOneSocketControlMessage(control)
	if err != nil || header.Level != unix.SOL_SOCKET || header.Type != unix.SO_RXQ_OVFL || len(data) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(data)
}

// send sends an answer that may be as long as a size. What does not fit is cut, with the mark to ask again by TCP.
func (v *server) send(answer *dns.Msg, size int, to netip.AddrPort) {
	if answer == nil {
		return
	}
	answer.Truncate(size)
	if wire, err := answer.Pack(); err == nil {
		_, _ = v.udp.WriteToUDPAddrPort(wire, to) // who asked may have gone
	}
}

func (v *server) serveTCP() {
	for {
		conn, err := v.tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(10 * time.Millisecond) // no descriptor is free
			continue
		}
		c := &tcpConn{TCPConn: conn, used: time.Now()}
		v.conns.add(c)
		go func() {
			defer v.conns.remove(c)
			v.serveConn(c)
		}()
	}
}

// serveConn answers the messages of one connection, in their order.
func (v *server) serveConn(c *tcpConn) {
	for {
		wire, err := readFrame(c)
		if err != nil {
			return
		}
		v.streamed.take()
		v.conns.touch(c)
		query, answer := screen(wire)
		if query != nil {
			answer = v.handler.Answer(v.ctx, Query{query, v.space})
		}
		if answer == nil || writeFrame(c, answer) != nil {
			return
		}
	}
}

// readFrame reads a message with its length before it (RFC 1035, section 4.2.2). A query is short; whoever announces more is
// not kept waiting for.
func readFrame(c net.Conn) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n == 0 || n > maxUDP {
		return nil, io.ErrUnexpectedEOF
	}
	wire := make([]byte, n)
	_, err := io.ReadFull(c, wire)
	return wire, err
}

func writeFrame(c net.Conn, m *dns.Msg) error {
	m.Compress = true
	wire, err := m.Pack()
	if err != nil || len(wire) > dns.MaxMsgSize {
		return errors.Join(err, unix.EMSGSIZE)
	}
	if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
	return err
}

// tcpConn is an open connection.
type tcpConn struct {
	*net.TCPConn
	used time.Time // of the last message, under the lock of conns
}

// conns are the connections of one namespace.
type conns struct {
	mu     sync.Mutex
	open   []*tcpConn
	closed bool
}

// add makes room by closing the one that has been silent for longest.
func (c *conns) add(conn *tcpConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close() // nothing is buffered
	}
	if len(c.open) >= mostConns {
		oldest := 0
		for i, other := range c.open {
			if other.used.Before(c.open[oldest].used) {
				oldest = i
			}
		}
		_ = c.open[oldest].Close() // its reader removes it
		c.open = append(c.open[:oldest], c.open[oldest+1:]...)
	}
	c.open = append(c.open, conn)
}

func (c *conns) touch(conn *tcpConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.used = time.Now()
}

func (c *conns) remove(conn *tcpConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.open {
		if other == conn {
			c.open = append(c.open[:i], c.open[i+1:]...)
			break
		}
	}
	_ = conn.Close() // it may have been closed
}

func (c *conns) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, conn := range c.open {
		_ = conn.Close() // nothing is buffered
	}
}
