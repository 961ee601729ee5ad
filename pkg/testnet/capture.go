package testnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Capture receives every frame that reaches a link, from when it was made.
type Capture struct {
	fd    int
	index int
}

// Capture opens a capture on a link of the namespace; the test closes it.
func (n *Namespace) Capture(t testing.TB, link string) *Capture {
	t.Helper()
	c, err := n.OpenCapture(link)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// OpenCapture opens one that the caller closes.
func (n *Namespace) OpenCapture(link string) (*Capture, error) {
	c := &Capture{}
	if err := n.Do(func() error { return c.open(link) }); err != nil {
		return nil, fmt.Errorf("capture on %s: %w", link, err)
	}
	return c, nil
}

// Close ends the capture.
func (c *Capture) Close() { _ = unix.Close(c.fd) } // nothing is buffered in the socket

// Drain gives each frame that was received until now.
func (c *Capture) Drain(each func(frame []byte)) error {
	frame := make([]byte, 1<<17)
	for {
		size, _, err := unix.Recvfrom(c.fd, frame, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("receiving a frame: %w", err)
		case err == nil:
			each(frame[:size])
		}
	}
}

func (c *Capture) open(link string) error {
	dev, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	all := htons(unix.ETH_P_ALL)
	c.index = dev.Index
	if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: dev.Index})
}

// Send sends a frame from the link.
func (c *Capture) Send(t testing.TB, frame []byte) {
	t.Helper()
	if err := unix.Sendto(c.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: c.index}); err != nil {
		t.Fatalf("sending a frame: %v", err)
	}
}

// Await waits for a frame that matches, and says whether one came within the time.
func (c *Capture) Await(t testing.TB, within time.Duration, match func(frame []byte) bool) bool {
	t.Helper()
	deadline := time.Now().Add(within)
	frame := make([]byte, 1<<16)
	for left := within; left > 0; left = time.Until(deadline) {
		timeout := unix.NsecToTimeval(left.Nanoseconds() + time.Microsecond.Nanoseconds())
		if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			t.Fatalf("time-out of a packet socket: %v", err)
		}
		size, err := unix.Read(c.fd, frame)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			t.Fatalf("receiving a frame: %v", err)
		case match(frame[:size]):
			return true
		}
	}
	return false
}

func htons(n uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)) }
