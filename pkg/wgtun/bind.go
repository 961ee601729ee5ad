package wgtun

import (
	"bytes"
	"hash/maphash"
	"net"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// orderly is a socket that gives WireGuard the handshake messages of a sender one by one. wireguard-go works on several at a time, and when both
// hosts begin a session at the same moment, a response and an initiation meet in one handshake: ConsumeMessageResponse does not look again whether
// that has changed while it computed. The session that comes of it has an index that the other host never learns, so that one direction is lost
// until the next handshake, after two minutes. (The kernel's WireGuard looks again.)
type orderly struct {
	conn.Bind
	seed maphash.Seed
	late chan datagram
	mu   sync.Mutex
	// next is when the next message of a sender may be given, by its hash: senders that share one wait for each other.
	next   [256]time.Time
	closed chan struct{} // nil: it is not open
}

// datagram is a message that waits.
type datagram struct {
	text []byte
	from conn.Endpoint
	due  time.Time
}

const (
	// apart is between two handshake messages of a sender: long for the first to have been worked on, and short beside a handshake's timeout.
	apart = 50 * time.Millisecond
	// lateMax is how many messages wait. More are not held back: who floods a host must not keep others from it.
	lateMax = 256
)

// Types of messages (https://www.wireguard.com/protocol/), in the first of four bytes.
const (
	initiation = 1
	response   = 2
)

func newOrderly(b conn.Bind) *orderly {
	return &orderly{Bind: b, seed: maphash.MakeSeed(), late: make(chan datagram, lateMax)}
}

// Open has one more function to receive by, which gives what waited.
func (o *orderly) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	all, actual, err := o.Bind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	for i, receive := range all {
		all[i] = o.sparing(receive)
	}
	closed := make(chan struct{})
	o.mu.Lock()
	o.closed = closed
	o.mu.Unlock()
	return append(all, o.receiveLate(closed)), actual, nil
}

// Close may be called of a socket that is not open.
func (o *orderly) Close() error {
	o.mu.Lock()
	if o.closed != nil {
		close(o.closed)
		o.closed = nil
	}
	o.mu.Unlock()
	return o.Bind.Close()
}

// sparing receives, and holds back what comes too soon: a message of no bytes is none to WireGuard.
func (o *orderly) sparing(receive conn.ReceiveFunc) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n, err := receive(packets, sizes, from)
		for i := range n {
			text := packets[i][:sizes[i]]
			if len(text) > 0 && (text[0] == initiation || text[0] == response) && o.waits(text, from[i], time.Now()) {
				sizes[i] = 0
			}
		}
		return n, err
	}
}

// waits has a message be given later, when the one before it of its sender was given a moment ago.
func (o *orderly) waits(text []byte, from conn.Endpoint, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := &o.next[maphash.Bytes(o.seed, from.DstToBytes())%uint64(len(o.next))]
	if !now.Before(*next) {
		*next = now.Add(apart)
		return false
	}
	select {
	case o.late <- datagram{bytes.Clone(text), from, *next}:
		*next = next.Add(apart)
		return true
	default:
		return false
	}
}

// receiveLate gives what waited, until the socket is closed.
func (o *orderly) receiveLate(closed <-chan struct{}) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		select {
		case <-closed:
			return 0, net.ErrClosed
		case d := <-o.late:
			select {
			case <-closed:
				return 0, net.ErrClosed
			case <-time.After(time.Until(d.due)):
			}
			sizes[0], from[0] = copy(packets[0], d.text), d.from
			return 1, nil
		}
	}
}
