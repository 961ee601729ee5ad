package wgtun

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/wgkey"
)

// end is one of two WireGuard devices in memory.
type end struct {
	tun *tuntest.ChannelTUN
	got chan []byte // what came through
	dev *device.Device
	at  netip.Addr
}

// known says whether there was a handshake.
func (e end) known(t *testing.T) bool {
	t.Helper()
	text, err := e.dev.IpcGet()
	if err != nil {
		t.Fatal(err)
	}
	d, err := parse("", text)
	if err != nil {
		t.Fatal(err)
	}
	return !d.Peers[0].LastHandshakeTime.IsZero()
}

// pair are two devices that know each other and have no session yet.
func pair(t *testing.T) (ends [2]end) {
	t.Helper()
	binds := bindtest.NewChannelBinds()
	var keys [2]wgkey.Private
	for i := range keys {
		var err error
		if keys[i], err = wgkey.Generate(); err != nil {
			t.Fatal(err)
		}
		ends[i].tun, ends[i].at = tuntest.NewChannelTUN(), netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		ends[i].got = make(chan []byte, 100)
		go func() {
			for p := range ends[i].tun.Inbound {
				ends[i].got <- p
			}
		}()
		ends[i].dev = device.NewDevice(ends[i].tun.TUN(), newOrderly(binds[i]), logger("test"))
	}
	for i, e := range ends {
		private, port := wgtypes.Key(keys[i]), i+1
		text := format(wgtypes.Config{PrivateKey: &private, ListenPort: &port, Peers: []wgtypes.PeerConfig{{PublicKey: wgtypes.Key(keys[1-i].Public())}}})
		text += fmt.Sprintf("endpoint=127.0.0.1:%d\nallowed_ip=%v/32\n", i+1, ends[1-i].at)
		if err := e.dev.IpcSet(text); err != nil {
			t.Fatal(err)
		}
		if err := e.dev.Up(); err != nil {
			t.Fatal(err)
		}
	}
	return ends
}

func (e end) says(to end) { e.tun.Outbound <- tuntest.Ping(to.at, e.at) }

func (e end) hears(within time.Duration) bool {
	select {
	case <-e.got:
		return true
	case <-time.After(within):
		return false
	}
}

// settled waits until both have had a handshake, and says whether they have: when each has answered the other's, neither has until one tries again.
func settled(t *testing.T, ends [2]end) bool {
	t.Helper()
	for range 50 {
		if ends[0].known(t) && ends[1].known(t) {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// speak says whether each hears the other.
func speak(ends [2]end) bool {
	var heard [2]bool
	for range 20 {
		for i, e := range ends {
			e.says(ends[1-i])
			heard[1-i] = ends[1-i].hears(20*time.Millisecond) || heard[1-i]
		}
		if heard[0] && heard[1] {
			return true
		}
	}
	return false
}

// TestBothBegin: of two hosts that begin to speak at the same moment, each hears the other, or neither does yet. Without orderly, some in a
// hundred have one direction alone.
func TestBothBegin(t *testing.T) {
	const rounds = 150
	begun := 0
	for range rounds {
		ends := pair(t)
		for i, e := range ends {
			go e.says(ends[1-i])
		}
		if settled(t, ends) {
			begun++
			for _, e := range ends {
				e.hears(20 * time.Millisecond) // what each said first
			}
			if !speak(ends) {
				t.Error("one direction is lost")
			}
		}
		for _, e := range ends {
			e.dev.Close()
		}
	}
	if begun < rounds/10 {
		t.Errorf("of %d pairs %d have a session: the test proves nothing", rounds, begun)
	}
}

// arrivals is a socket on which messages arrive.
type arrivals struct {
	conn.Bind
	all chan datagram
}

func (a arrivals) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		d, open := <-a.all
		if !open {
			return 0, net.ErrClosed
		}
		sizes[0], from[0] = copy(packets[0], d.text), d.from
		return 1, nil
	}}, 0, nil
}

func (a arrivals) Close() error {
	close(a.all)
	return nil
}

// TestOrderly: of the handshake messages of one sender, the next is given some time after the one before. Those of others, and data, wait for
// nothing; nor does anything when too much waits.
func TestOrderly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := arrivals{all: make(chan datagram, 2*lateMax)}
		o := newOrderly(from)
		receivers, _, err := o.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		given := make(chan string, 4*lateMax)
		var all sync.WaitGroup
		for _, receive := range receivers {
			all.Go(func() {
				packets, sizes, ends := [][]byte{make([]byte, 200)}, []int{0}, []conn.Endpoint{nil}
				for {
					if _, err := receive(packets, sizes, ends); err != nil {
						return
					}
					if sizes[0] > 0 {
						given <- fmt.Sprint(packets[0][0], ends[0], int(time.Since(start)/apart))
					}
				}
			})
		}
		one, two := bindtest.ChannelEndpoint(1), bindtest.ChannelEndpoint(2)
		for _, d := range []datagram{{text: []byte{response}, from: one}, {text: []byte{initiation}, from: one}, {text: []byte{4}, from: one}, {text: []byte{initiation}, from: one}, {text: []byte{initiation}, from: two}} {
			from.all <- d
		}
		time.Sleep(10 * apart)
		close(given)
		var got []string
		for text := range given {
			got = append(got, text)
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"1 1 1", "1 1 2", "1 2 0", "2 1 0", "4 1 0"}, got); diff != "" {
			t.Errorf("type, sender, time (-want +got):\n%s", diff)
		}
		given = make(chan string, 4*lateMax)
		for range lateMax + 10 {
			from.all <- datagram{text: []byte{initiation}, from: one}
		}
		synctest.Wait()
		if most := len(given); most < 9 || most > 11 {
			t.Errorf("of %d messages at once, %d were given at once", lateMax+10, most)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
}
