package resolver

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// Connections that say nothing, or nonsense, keep nobody from an answer.
func TestIdleConnections(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	other := h.attach("lamp", "d", addrs("10.1.0.3"))
	for i := range 1000 {
		conn, err := c.dial("tcp")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 1 { // a length that is never followed by as much
			_ = binary.Write(conn, binary.BigEndian, uint16(i*7))
		}
	}
	for _, asker := range []container{c, other} {
		for _, network := range []string{"udp", "tcp"} {
			r, err := asker.tryAsk(network, query("d", dns.TypeA))
			if err != nil {
				t.Fatalf("%s: %v", network, err)
			}
			want(t, r, "NOERROR", "A 10.1.0.3")
		}
	}
	v := h.resolver.spaces.all[c.record.Netns.Space()].server
	v.conns.mu.Lock()
	defer v.conns.mu.Unlock()
	if n := len(v.conns.open); n > mostConns {
		t.Errorf("%d connections are open", n)
	}
}

func TestMalformed(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	packed := func(change func(*dns.Msg)) []byte {
		q := query("c", dns.TypeA)
		change(q)
		wire, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	for _, tt := range []struct {
		name string
		wire []byte
		want int // -1: no answer
	}{
		{"empty", nil, -1},
		{"short", []byte{1, 2, 3}, -1},
		{"header alone", []byte{1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, dns.RcodeFormatError},
		{"garbage", []byte("\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), dns.RcodeFormatError},
		{"a reply", packed(func(q *dns.Msg) { q.Response = true }), -1},
		{"no question", packed(func(q *dns.Msg) { q.Question = nil }), dns.RcodeFormatError},
		{"two questions", packed(func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]) }), dns.RcodeFormatError},
		{"an update", packed(func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		{"EDNS of another version", packed(func(q *dns.Msg) { q.SetEdns0(1232, false).IsEdns0().SetVersion(3) }), dns.RcodeBadVers},
	} {
		conn, err := c.dial("udp")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(tt.wire); err != nil {
			t.Fatal(err)
		}
		wait := 10 * time.Second
		if tt.want < 0 {
			wait = 200 * time.Millisecond
		}
		_ = conn.SetDeadline(time.Now().Add(wait))
		buffer := make([]byte, 4096)
		n, err := conn.Read(buffer)
		if (err == nil) != (tt.want >= 0) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if tt.want >= 0 {
			r := new(dns.Msg)
			if err := r.Unpack(buffer[:n]); err != nil || r.Rcode != tt.want || !r.Response {
				t.Errorf("%s: %v, %v; want %s", tt.name, r, err, dns.RcodeToString[tt.want])
			}
		}
	}
	want(t, c.ask(t, "c", dns.TypeA), "NOERROR", "A 10.1.0.2")
}

// A container may serve port 53 itself, for others than itself.
func TestServerInTheContainer(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	err := c.Do(func() error {
		udp, err := net.ListenPacket("udp4", "0.0.0.0:53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { udp.Close() })
		tcp, err := net.Listen("tcp4", "0.0.0.0:53")
		if err != nil {
			return err
		}
		t.Cleanup(func() { tcp.Close() })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, c.ask(t, "c", dns.TypeA), "NOERROR", "A 10.1.0.2")
}

// One container's flood leaves the others their answers, and is read no faster than one who waits for answers could ask.
func TestFlood(t *testing.T) {
	h := newHost(t)
	c := h.attach("lamp", "c", addrs("10.1.0.2"))
	other := h.attach("lamp", "d", addrs("10.1.0.3"))
	wire, err := query("d", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	var answered atomic.Int64
	begun := time.Now()
	for range 2 {
		conn, err := c.dial("udp")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for !stop.Load() {
				_, _ = conn.Write(wire)
			}
			conn.Close()
		})
		wg.Go(func() {
			answer := make([]byte, maxUDP)
			for {
				if _, err := conn.Read(answer); errors.Is(err, net.ErrClosed) {
					return
				}
				answered.Add(1)
			}
		})
	}
	end := sync.OnceFunc(func() {
		stop.Store(true)
		wg.Wait()
	})
	defer end()
	for range 500 {
		want(t, other.ask(t, "c", dns.TypeA), "NOERROR", "A 10.1.0.2")
	}
	time.Sleep(time.Until(begun.Add(2 * time.Second)))
	end()
	// At first it may be taken for somebody with many questions.
	if most := perSecond/5 + 2*whileFlooded*time.Since(begun).Seconds(); float64(answered.Load()) > most {
		t.Errorf("%d answers in %s, more than %.0f", answered.Load(), time.Since(begun), most)
	}
}

func TestPace(t *testing.T) {
	for _, test := range []struct {
		what    string
		dropped func(i int) uint32
		count   int
		took    time.Duration
	}{
		{"in order", func(int) uint32 { return 0 }, 500, 500 * time.Millisecond},
		{"dropped once", func(i int) uint32 { return uint32(min(i, 1)) }, 410, 500 * time.Millisecond},
		{"flooded", func(i int) uint32 { return uint32(i) }, 50, 500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := pace{perSecond: 1000, flooded: 100, begun: time.Now()}
			begun := time.Now()
			for i := range test.count {
				p.note(test.dropped(i))
				p.take()
			}
			if took := time.Since(begun); took != test.took {
				t.Errorf("%s: %d took %s, want %s", test.what, test.count, took, test.took)
			}
		})
	}
}

// FuzzFrames looks for a stream that keeps the server from ending with it, or upsets it.
func FuzzFrames(f *testing.F) {
	wire, err := query("a", dns.TypeA).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0, byte(len(wire))}, wire...))
	f.Add([]byte{0, 0, 0, 1, 0xff})
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Write(stream)
			theirs.Close()
		}()
		for {
			wire, err := readFrame(ours)
			if err != nil {
				return
			}
			q, answer := screen(wire)
			if q != nil {
				answer = addresses(q, nil)
			}
			if answer != nil {
				if _, err := answer.Pack(); err != nil {
					t.Errorf("answer to %x: %v", wire, err)
				}
			}
		}
	})
}
