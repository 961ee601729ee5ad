package testnet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Flow is numbered packets, which a Witness knows, that go from one namespace to another all the time, so that a loss is seen.
type Flow struct {
	from, to *net.UDPConn
	stop     chan struct{}
	sent     chan uint32 // the number of packets, when the last was sent
	mu       sync.Mutex
	got      map[uint32]bool
	grown    chan struct{}
	every    time.Duration
	refused  int   // packets that the sender's kernel did not take
	reason   error // the last time
}

// StartFlow begins to send to an address of a namespace, a hundred packets a second.
func StartFlow(from, to *Namespace, addr netip.Addr) (*Flow, error) {
	return StartFlowEvery(10*time.Millisecond, from, to, addr)
}

// StartFlowEvery does so with another time between two packets.
func StartFlowEvery(every time.Duration, from, to *Namespace, addr netip.Addr) (*Flow, error) {
	f := &Flow{every: every, stop: make(chan struct{}), sent: make(chan uint32, 1), got: make(map[uint32]bool), grown: make(chan struct{}, 1)}
	if err := to.Do(func() (err error) {
		f.to, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	}); err != nil {
		return nil, err
	}
	deepen(f.to)
	far := f.to.LocalAddr().(*net.UDPAddr)
	if err := from.Do(func() (err error) {
		f.from, err = net.DialUDP("udp", nil, far)
		return err
	}); err != nil {
		_ = f.to.Close() // nothing came yet
		return nil, err
	}
	go f.receive()
	go f.send()
	return f, nil
}

// deepen gives a socket room for seconds of packets: on a busy machine its reader gets no processor for longer than the default lasts, which
// is some 200 packets. Who may not have more has the default.
func deepen(c *net.UDPConn) {
	const buffer = 8 << 20
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) })
}

func (f *Flow) send() {
	ticker := time.NewTicker(f.every)
	defer ticker.Stop()
	for n := uint32(0); ; n++ {
		select {
		case <-f.stop:
			f.sent <- n
			return
		case <-ticker.C:
			if _, err := f.from.Write(append(binary.BigEndian.AppendUint32(nil, n), plaintext...)); err != nil { // not sent is lost
				f.refused++
				f.reason = err
			}
		}
	}
}

func (f *Flow) receive() {
	packet := make([]byte, 4+len(plaintext))
	for {
		n, err := f.to.Read(packet)
		if err != nil {
			return // closed
		}
		if n == len(packet) {
			f.mu.Lock()
			f.got[binary.BigEndian.Uint32(packet)] = true
			f.mu.Unlock()
		}
		select {
		case f.grown <- struct{}{}:
		default:
		}
	}
}

// Count is how many packets have arrived.
func (f *Flow) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got)
}

// Stop ends the flow and says what was lost. Packets under way are waited for.
func (f *Flow) Stop(patience time.Duration) error {
	close(f.stop)
	sent := int(<-f.sent)
	deadline := time.After(patience)
	for waiting := true; waiting && f.Count() < sent; {
		select {
		case <-f.grown:
		case <-deadline:
			waiting = false
		}
	}
	_, _ = f.from.Close(), f.to.Close() // all has been read
	lost := f.lost(sent)
	if len(lost) == 0 && sent > 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d packets were lost, one each %v: %v", len(lost), sent, f.every, lost[:min(len(lost), 20)])
	if f.reason != nil {
		err = fmt.Errorf("%w; %d were not sent: %w", err, f.refused, f.reason)
	}
	return err
}

// lost are the numbers of those that have not arrived.
func (f *Flow) lost(sent int) (numbers []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range sent {
		if !f.got[uint32(n)] {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
