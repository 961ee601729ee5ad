package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// packetsName selects the rows about packets of containers, on the network as `fairway create` writes it.
const packetsName = "packets"

const (
	// pairsBuilt is how often all pairs of hosts are made anew. Two that were made alike differ by as much as most that are not:
	// where the kernel put their memory, and which processor it lets work for them.
	pairsBuilt = 8
	// packetTime is what one sample is measured over.
	packetTime = 400 * time.Millisecond
)

const (
	connectEach verb = "conn"
	datagrams   verb = "UDP"
)

// packetPairs are made for each build: plain VXLAN, in hosts without a table, ours twice, the second as a control of the first, and ours with the fast path.
var packetPairs = []struct {
	name   string
	attach func(bench, context.Context, *pair) ([2]netip.Addr, error)
}{
	{"plain", func(_ bench, _ context.Context, p *pair) ([2]netip.Addr, error) { return p.plain() }},
	{"ours", bench.attachMasqueraded},
	{"again", bench.attachMasqueraded},
	{"fast", bench.attachFast},
}

func (b bench) attachMasqueraded(ctx context.Context, p *pair) ([2]netip.Addr, error) {
	return p.attach(ctx, b.ours, filepath.Join(b.scratch, filepath.Base(p.hosts[0].Path)), `"ipMasq": true`)
}

// attachFast has packets be carried by the fast path, as by a node agent with that flag.
func (b bench) attachFast(ctx context.Context, p *pair) ([2]netip.Addr, error) {
	addrs, err := b.attachMasqueraded(ctx, p)
	if err != nil {
		return addrs, err
	}
	p.carryFast(ctx)
	return addrs, p.awaitFast(way{p.containers[0], p.containers[1], addrs[1]})
}

// packetKind is what is measured of packets, and its goals against plain VXLAN, without and with the fast path.
type packetKind struct {
	verb    verb
	unit    string
	goal    Goal
	fast    Goal
	measure func(way) (float64, error)
}

func packetKinds() []packetKind {
	return []packetKind{
		{send, gigabits, atLeast(0.97), Goal{}, func(w way) (float64, error) { return w.stream(packetTime/4, packetTime) }},
		{answerEach, perSecond, atLeast(0.95), atLeast(1.3), func(w way) (float64, error) { return w.exchanges(packetTime) }},
		{connectEach, perSecond, atLeast(0.90), Goal{}, func(w way) (float64, error) { return w.connections(packetTime) }},
		{datagrams, perSecond, atLeast(0.90), Goal{}, func(w way) (float64, error) { return w.datagrams(packetTime) }},
		{cost, secondsPerGig, atMost(1.05), atMost(0.85), func(w way) (float64, error) { return w.processing(ownTime) }},
		{cost, microseconds, Goal{}, Goal{}, func(w way) (float64, error) { return w.exchangeCost(packetTime) }},
	}
}

// packets holds ours against plain VXLAN, and against itself: a difference that is smaller than that one is none.
func (b bench) packets(ctx context.Context) (rows []Row, err error) {
	kinds := packetKinds()
	samples := make([][]Samples, len(packetPairs)) // by pair and kind
	for i := range samples {
		samples[i] = make([]Samples, len(kinds))
	}
	order := rand.New(rand.NewPCG(3, 4)) // the same in each run
	for range min(b.rounds, pairsBuilt) {
		if err := b.packetsOfOneBuild(ctx, kinds, order, samples); err != nil {
			return nil, err
		}
	}
	for i, k := range kinds {
		plain, ours, again, fast := samples[0][i], samples[1][i], samples[2][i], samples[3][i]
		for _, row := range []Row{
			{Case: "packets, against plain VXLAN", Reference: plain, Ours: ours, Goal: k.goal},
			{Case: "  ours against ours, the control", Reference: ours, Ours: again},
			{Case: "  the fast path, against plain", Reference: plain, Ours: fast, Goal: k.fast},
		} {
			row.Verb, row.Unit, row.Ratio = k.verb, k.unit, row.Ours.median()/row.Reference.median()
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// packetsOfOneBuild makes all pairs and measures each kind once on each, in an order that is drawn.
func (b bench) packetsOfOneBuild(ctx context.Context, kinds []packetKind, order *rand.Rand, samples [][]Samples) (err error) {
	ways := make([]way, len(packetPairs))
	for i, at := range order.Perm(len(packetPairs)) {
		p, err := openPair(fmt.Sprint(packetPairs[at].name, i))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		addrs, err := packetPairs[at].attach(b, ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", packetPairs[at].name, err)
		}
		ways[at] = way{p.containers[0], p.containers[1], addrs[1]}
	}
	for _, turn := range order.Perm(len(ways) * len(kinds)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pair, kind := turn%len(ways), turn/len(ways)
		measured, err := kinds[kind].measure(ways[pair])
		if err != nil {
			return fmt.Errorf("%s, %s: %w", packetPairs[pair].name, kinds[kind].verb, err)
		}
		samples[pair][kind] = append(samples[pair][kind], measured)
	}
	return nil
}

// microseconds is a unit: of a processor, for an exchange.
const microseconds = "µs"

// exchangeCost is what an exchange takes of a processor, which other work on the machine changes less than how many there are in a second.
func (w way) exchangeCost(measured time.Duration) (float64, error) {
	before, err := ownTime()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	rate, err := w.exchanges(measured)
	if err != nil {
		return 0, err
	}
	count := rate * time.Since(begin).Seconds()
	after, err := ownTime()
	return float64((after - before).Microseconds()) / count, err
}

// connections is how many connections a second are opened, used for a byte each way, and closed, one after the other (TCP_CRR).
func (w way) connections(measured time.Duration) (rate float64, err error) {
	listener, err := w.listen()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	go echoEach(listener)
	count, begin := 0, time.Now()
	err = w.from.Do(func() error {
		for one := []byte{0}; time.Since(begin) < measured; count++ {
			c, err := net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
			if err != nil {
				return err
			}
			_, err = c.Write(one)
			if err == nil {
				_, err = io.ReadFull(c, one)
			}
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(count) / time.Since(begin).Seconds(), err
}

// echoEach sends back the byte of each connection, until the listener is closed. The near end tells of errors.
func echoEach(listener net.Listener) {
	one := []byte{0}
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		if _, err := io.ReadFull(c, one); err == nil {
			_, _ = c.Write(one)
		}
		_ = c.Close()
	}
}

// datagrams is how many small ones arrive in a second, from one who sends as fast as it can.
func (w way) datagrams(measured time.Duration) (rate float64, err error) {
	near, far, err := w.datagramEnds()
	if err != nil {
		return 0, err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		packet := make([]byte, 64)
		for {
			if _, err := near.Write(packet); errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
	defer func() {
		err = errors.Join(err, near.Close(), far.Close())
		<-sent
	}()
	count, begin := 0, time.Now()
	if err := far.SetReadDeadline(begin.Add(measured + 5*time.Second)); err != nil {
		return 0, err
	}
	for packet := make([]byte, 64); time.Since(begin) < measured; count++ {
		if _, err := far.Read(packet); err != nil {
			return 0, err
		}
	}
	return float64(count) / time.Since(begin).Seconds(), nil
}

// datagramEnds is a socket that sends and one that receives, in their namespaces.
func (w way) datagramEnds() (near, far *net.UDPConn, err error) {
	open := func(at *testnet.Namespace, f func() (*net.UDPConn, error)) (c *net.UDPConn, err error) {
		err = at.Do(func() (err error) {
			c, err = f()
			return err
		})
		return c, err
	}
	far, err = open(w.to, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.addr, 0)))
	})
	if err != nil {
		return nil, nil, err
	}
	near, err = open(w.from, func() (*net.UDPConn, error) { return net.DialUDP("udp", nil, far.LocalAddr().(*net.UDPAddr)) })
	if err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}
