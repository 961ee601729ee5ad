package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
	"github.com/fairway-cni/fairway/pkg/vtep"
	"github.com/fairway-cni/fairway/pkg/wgkey"
	"github.com/fairway-cni/fairway/pkg/wgtun"
)

const (
	encryptedName = "TCP, encrypted in a process"
	// kernelName is left out where the kernel has no WireGuard.
	kernelName = "TCP, encrypted by the kernel"

	answerEach verb = "answer"
	cost       verb = "cost"

	secondsPerGig = "s/GB"
)

// sealed are the hosts' addresses behind their WireGuard devices.
var sealed = [2]netip.Addr{netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.2")}

// seal joins the hosts by WireGuard: the kernel's, or, as fairwayd does where that has none, of this process.
func (p *pair) seal(drivers [2]wireguard.Driver) (err error) {
	var keys [2]wgkey.Private
	for i := range keys {
		if keys[i], err = wgkey.Generate(); err != nil {
			return err
		}
	}
	port := overlay.DefaultWireguardPort
	for i, host := range p.hosts {
		private, far := wgtypes.Key(keys[i]), 1-i
		config := wgtypes.Config{PrivateKey: &private, ListenPort: &port, Peers: []wgtypes.PeerConfig{{
			PublicKey:  wgtypes.Key(keys[far].Public()),
			Endpoint:   &net.UDPAddr{IP: net.ParseIP(underlayAddresses[far]), Port: port},
			AllowedIPs: []net.IPNet{{IP: sealed[far].AsSlice(), Mask: net.CIDRMask(32, 32)}},
		}}}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "wg0", 1440
		if err := host.Do(func() error {
			k, err := kernel.Open("")
			if err != nil {
				return err
			}
			defer k.Close()
			return errors.Join(drivers[i].Make(k, attrs), drivers[i].Configure(attrs.Name, config))
		}); err != nil {
			return err
		}
		if err := batch(host, fmt.Sprintf("link set wg0 up\naddr add %s/24 dev wg0", sealed[i])); err != nil {
			return err
		}
	}
	return nil
}

// attend makes of an encrypted network what a node agent keeps on the host.
func (b *bed) attend() error {
	key, err := wgkey.Generate()
	if err != nil {
		return err
	}
	b.tunnels = wgtun.New()
	return b.host.Do(func() error {
		return realise(peersFile(b.data), func(o vxlan.Overlay, k *kernel.Kernel) error {
			return ensure(vtep.Tunnel(o, func(t *wireguard.Tunnel) { t.Key, t.Driver = wgtypes.Key(key), b.tunnels }), k)
		})
	})
}

func (b bench) encryptedInProcess(ctx context.Context) ([]Row, error) {
	devices := [2]*wgtun.Devices{wgtun.New(), wgtun.New()}
	defer devices[0].Close()
	defer devices[1].Close()
	return b.encrypted(ctx, encryptedName, [2]wireguard.Driver{devices[0], devices[1]}, ownTime)
}

func (b bench) encryptedByKernel(ctx context.Context) ([]Row, error) {
	rows, err := b.encrypted(ctx, kernelName, [2]wireguard.Driver{wireguard.Kernel{}, wireguard.Kernel{}}, allProcessors) // threads of the kernel's encrypt
	if errors.Is(err, state.ErrUnsupported) {
		return nil, nil
	}
	return rows, err
}

// encrypted holds packets between two hosts through WireGuard against plain VXLAN: a stream, single requests, and what a stream takes of a
// processor, of which used is what was had so far.
func (b bench) encrypted(ctx context.Context, name string, drivers [2]wireguard.Driver, used func() (time.Duration, error)) (rows []Row, err error) {
	p, err := openPair("sealed")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if _, err := p.plain(); err != nil {
		return nil, err
	}
	if err := p.seal(drivers); err != nil {
		return nil, err
	}
	ways := []way{{p.hosts[0], p.hosts[1], overlay.Gateway(overlayBlock(1))}, {p.hosts[0], p.hosts[1], sealed[1]}}
	kinds := []struct {
		verb    verb
		unit    string
		measure func(way) (float64, error)
	}{
		{send, gigabits, func(w way) (float64, error) { return w.stream(warmUp, streamTime) }},
		{answerEach, perSecond, func(w way) (float64, error) { return w.exchanges(streamTime) }},
		{cost, secondsPerGig, func(w way) (float64, error) { return w.processing(used) }},
	}
	samples, err := streamInTurns(ctx, b.rounds, len(ways)*len(kinds), func(turn int) (float64, error) {
		return kinds[turn/len(ways)].measure(ways[turn%len(ways)])
	})
	if err != nil {
		return nil, err
	}
	for i, k := range kinds {
		row := Row{Case: name, Verb: k.verb, Unit: k.unit, Reference: samples[i*len(ways)], Ours: samples[i*len(ways)+1]}
		row.Ratio = row.Ours.median() / row.Reference.median()
		rows = append(rows, row)
	}
	return rows, nil
}

// processing is what a stream takes of a processor, at both ends and between.
func (w way) processing(used func() (time.Duration, error)) (float64, error) {
	before, err := used()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	rate, err := w.stream(0, streamTime)
	if err != nil {
		return 0, err
	}
	gigabytes := rate / 8 * time.Since(begin).Seconds()
	after, err := used()
	return (after - before).Seconds() / gigabytes, err
}

// exchanges is how often a byte goes there and another back in a second, one after the other.
func (w way) exchanges(measured time.Duration) (rate float64, err error) {
	near, far, err := w.connect()
	if err != nil {
		return 0, fmt.Errorf("exchange with %s: %w", w.addr, err)
	}
	defer func() { err = errors.Join(err, near.Close()) }()
	go func() {
		_, _ = io.Copy(far, far) // the near end tells of an error
		_ = far.Close()
	}()
	count, begin := 0, time.Now()
	for one := []byte{0}; time.Since(begin) < measured; count++ {
		if _, err := near.Write(one); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(near, one); err != nil {
			return 0, err
		}
	}
	return float64(count) / time.Since(begin).Seconds(), nil
}

// ownTime is what this process has had of a processor.
func ownTime() (time.Duration, error) { return processorTime(os.Getpid()) }

// allProcessors is what the processors have done since the machine was started, for whomever, the kernel's threads as well (proc(5), /proc/stat).
func allProcessors() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	const idle, waiting, tick = 4, 5, 10 * time.Millisecond
	var sum time.Duration
	for i, field := range strings.Fields(line)[:9] {
		if i == 0 || i == idle || i == waiting {
			continue
		}
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}
