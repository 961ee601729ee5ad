package testnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// plaintext is what Speak says; pings are filled with its first letter.
const plaintext = "plaintext that nobody on the underlay may read"

// Witness sees what passes on an underlay, on the cable of each host.
type Witness struct {
	hosts    *Hosts
	captures []*Capture
	mu       sync.Mutex
	seen     map[string]int
	lost     error
}

// What a witness tells of.
const (
	// SawPlaintext is what Speak says, in any frame.
	SawPlaintext = "plaintext"
	// SawVXLAN is a VXLAN packet of a network; the VNI follows.
	SawVXLAN = "VXLAN packet of VNI "
)

// Watch begins to look at the underlay, until the test ends.
func (h *Hosts) Watch(t testing.TB) *Witness {
	t.Helper()
	w := &Witness{hosts: h, seen: make(map[string]int)}
	for _, host := range h.All {
		w.Follow(t, host)
	}
	return w
}

// Follow looks at the cable of a host that was booted again, before anything speaks there: it has another.
func (w *Witness) Follow(t testing.TB, host *Host) {
	t.Helper()
	c := w.hosts.Underlay.Capture(t, host.Name)
	const buffer = 64 << 20 // a stream must not outrun its reader
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer); err != nil {
		t.Fatalf("buffer of a packet socket: %v", err)
	}
	w.captures = append(w.captures, c)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		w.read(c, stop)
	}()
	t.Cleanup(func() { close(stop); <-stopped }) // before the capture is closed
}

func (w *Witness) read(c *Capture, stop chan struct{}) {
	frame := make([]byte, 1<<17)
	for {
		select {
		case <-stop:
			return
		default:
		}
		timeout := unix.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			w.note("", err)
			return
		}
		n, err := unix.Read(c.fd, frame)
		if errors.Is(err, unix.ENETDOWN) {
			continue // the cable was cut, or is no more
		}
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				w.note("", err)
				return
			}
			continue
		}
		if bytes.Contains(frame[:n], []byte(plaintext[:16])) || bytes.Contains(frame[:n], bytes.Repeat([]byte(plaintext[:1]), 32)) {
			w.note(SawPlaintext, nil)
		}
		if vni, ok := VNIOf(frame[:n]); ok {
			w.note(SawVXLAN+fmt.Sprint(vni), nil)
		}
		if bytes.Contains(frame[:n], []byte(marker)) {
			w.note(string(marker)+string(frame[n-markerLen:n]), nil)
		}
	}
}

func (w *Witness) note(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.lost = err
		return
	}
	w.seen[what]++
}

// VNIOf reads the VNI of a frame with a VXLAN packet (RFC 7348, 5).
func VNIOf(frame []byte) (vni uint32, ok bool) {
	const ethernet, port = 14, 4789
	if len(frame) < ethernet+20 {
		return 0, false
	}
	var udp []byte
	switch packet := frame[ethernet:]; binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		if header := int(packet[0]&0xf) * 4; packet[9] == unix.IPPROTO_UDP && len(packet) > header {
			udp = packet[header:]
		}
	case unix.ETH_P_IPV6:
		if packet[6] == unix.IPPROTO_UDP && len(packet) > 40 {
			udp = packet[40:]
		}
	}
	if len(udp) < 16 || binary.BigEndian.Uint16(udp[2:]) != port {
		return 0, false
	}
	return binary.BigEndian.Uint32(udp[12:]) >> 8, true
}

// marker is sent by Seen; what follows is of one length.
const (
	marker    = "marker of a witness "
	markerLen = 24
)

// Seen says what has passed until now. It sends packets by the cable of each host, and waits until they were seen.
func (w *Witness) Seen(t testing.TB) []string {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n, host := range w.hosts.All {
		for i := range 2 { // what came through a device has gone through a queue more
			text := fmt.Sprintf("%08d%016d", n*2+i, time.Now().UnixNano()%1e16)
			for !w.has(marker + text) {
				if err := host.Do(func() error { return say(netip.MustParseAddr(Gateway4), marker+text) }); err != nil {
					t.Fatalf("%s: %v", host.Name, err)
				}
				w.await(marker+text, 100*time.Millisecond)
				if time.Now().After(deadline) {
					t.Fatalf("%s: what nothing holds up is not seen on its cable", host.Name)
				}
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil {
		t.Fatalf("capture: %v", w.lost)
	}
	for _, c := range w.captures {
		// What the buffer had no room for was seen by nobody.
		if s, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err != nil || s.Drops > 0 {
			t.Fatalf("capture: %d frames were lost, %v", s.Drops, err)
		}
	}
	var all []string
	for what := range w.seen {
		if !strings.HasPrefix(what, marker) {
			all = append(all, what)
		}
	}
	slices.Sort(all)
	return all
}

func (w *Witness) has(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[what] > 0
}

func (w *Witness) await(what string, within time.Duration) {
	for end := time.Now().Add(within); time.Now().Before(end) && !w.has(what); {
		time.Sleep(time.Millisecond)
	}
}

func say(to netip.Addr, text string) error {
	conn, err := net.Dial("udp", netip.AddrPortFrom(to, 9).String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte(text))
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil // of the one before
	}
	return err
}

// Speak sends plaintext from one namespace to an address of another, as UDP, as UDP in fragments, by pings, also in fragments, and by
// TCP. The error is that no answer came by TCP within the time.
func Speak(from, to *Namespace, addr netip.Addr, within time.Duration) error {
	const large = 4000
	long := strings.Repeat(plaintext, 1+large/len(plaintext))
	// Nobody has to answer these.
	_ = from.Do(func() error { return errors.Join(say(addr, plaintext), say(addr, long)) })
	for _, size := range []string{"64", "4000"} {
		_ = from.Command("busybox", "ping", "-c", "1", "-W", "1", "-w", "1", "-s", size, "-p", fmt.Sprintf("%02x", plaintext[0]), addr.String()).Run()
	}
	var server net.Listener
	if err := to.Do(func() (err error) { server, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String()); return err }); err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn) // until it is closed
		_ = conn.Close()
	}()
	var conn net.Conn
	dial := func() (err error) { conn, err = net.DialTimeout("tcp", server.Addr().String(), within); return err }
	if err := from.Do(dial); err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(plaintext)); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, len(plaintext)))
	return err
}
