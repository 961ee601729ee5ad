package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	streamName = "TCP stream"

	// warmUp lets the congestion window open.
	warmUp = 200 * time.Millisecond
	// streamTime is what one sample is measured over.
	streamTime = time.Second
)

// way is where a stream begins and ends.
type way struct {
	from, to *testnet.Namespace
	addr     netip.Addr
}

// streamRow holds one way against another, by their places in the turns.
type streamRow struct {
	name            string
	reference, ours int
	goal            Goal
}

// Places in the turns.
const (
	plainContainers = iota
	ourContainers
	plainHosts
	ourHosts
	rawVeth
)

func streamRows() []streamRow {
	return []streamRow{
		{streamName + " of containers, VXLAN", plainContainers, ourContainers, atLeast(0.95)},
		{streamName + " of hosts, VXLAN", plainHosts, ourHosts, Goal{}},
		{streamName + " of containers, veth", rawVeth, ourContainers, Goal{}},
	}
}

// streams sends one TCP stream at a time over the overlay, over plain VXLAN, and over the underlay itself.
func (b bench) streams(ctx context.Context) (rows []Row, err error) {
	ours, err := openPair("ours")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	plain, err := openPair("plain")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	ourAddrs, err := ours.attach(ctx, b.ours, b.scratch)
	if err != nil {
		return nil, err
	}
	plainAddrs, err := plain.plain()
	if err != nil {
		return nil, err
	}
	gateway := overlay.Gateway(overlayBlock(1))
	ways := []way{
		plainContainers: {plain.containers[0], plain.containers[1], plainAddrs[1]},
		ourContainers:   {ours.containers[0], ours.containers[1], ourAddrs[1]},
		plainHosts:      {plain.hosts[0], plain.hosts[1], gateway},
		ourHosts:        {ours.hosts[0], ours.hosts[1], gateway},
		rawVeth:         {plain.hosts[0], plain.hosts[1], netip.MustParseAddr(underlayAddresses[1])},
	}
	samples, err := streamInTurns(ctx, b.rounds, len(ways), func(turn int) (float64, error) {
		return ways[turn].stream(warmUp, streamTime)
	})
	if err != nil {
		return nil, err
	}
	for _, r := range streamRows() {
		row := Row{Case: r.name, Verb: send, Unit: gigabits, Reference: samples[r.reference], Ours: samples[r.ours], Goal: r.goal}
		row.Ratio = row.Ours.median() / row.Reference.median()
		rows = append(rows, row)
	}
	return rows, nil
}

const send verb = "send"

// streamInTurns measures all ways in each round, in an order that is drawn anew, so that none is always the one behind a
// certain other: what a stream leaves behind slows down the next.
func streamInTurns(ctx context.Context, rounds, ways int, stream func(way int) (float64, error)) ([]Samples, error) {
	samples := make([]Samples, ways)
	orders := rand.New(rand.NewPCG(1, 2)) // the same in each run
	for range rounds {
		for _, turn := range orders.Perm(ways) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			rate, err := stream(turn)
			if err != nil {
				return nil, err
			}
			samples[turn] = append(samples[turn], rate)
		}
	}
	return samples, nil
}

// stream gives the rate of one TCP stream in Gb/s, as its receiver sees it. The sockets stay in the namespaces in which they
// were made.
func (w way) stream(warmUp, measured time.Duration) (rate float64, err error) {
	rate, err = w.connectAndSend(warmUp, measured)
	if err != nil {
		err = fmt.Errorf("TCP stream to %s: %w", w.addr, err)
	}
	return rate, err
}

func (w way) connectAndSend(warmUp, measured time.Duration) (rate float64, err error) {
	sender, receiver, err := w.connect()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, sender.Close(), receiver.Close()) }()
	// The receiver ends first, unless nothing comes.
	deadline := time.Now().Add(warmUp + measured + 10*time.Second)
	if err := errors.Join(sender.SetDeadline(deadline), receiver.SetDeadline(deadline)); err != nil {
		return 0, err
	}
	go fill(sender)
	return received(receiver, warmUp, measured)
}

// connect opens a connection, whose ends stay in their namespaces.
func (w way) connect() (near, far net.Conn, err error) {
	listener, err := w.listen()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	if err := w.from.Do(func() (err error) {
		near, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		return err
	}); err != nil {
		return nil, nil, err
	}
	far, err = listener.Accept()
	return near, far, err
}

// listen waits for connections at the far end, in its namespace.
func (w way) listen() (listener net.Listener, err error) {
	err = w.to.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(w.addr, 0).String())
		return err
	})
	return listener, err
}

// chunk is what is written and read at a time.
const chunk = 128 << 10

// fill writes until the connection ends.
func fill(c net.Conn) {
	buffer := make([]byte, chunk)
	for {
		if _, err := c.Write(buffer); err != nil {
			return
		}
	}
}

// received gives the rate after the connection has warmed up.
func received(c net.Conn, warmUp, measured time.Duration) (float64, error) {
	buffer := make([]byte, chunk)
	start := time.Now()
	for time.Since(start) < warmUp {
		if _, err := c.Read(buffer); err != nil {
			return 0, err
		}
	}
	start = time.Now()
	bytes := 0
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return 0, err
		}
		bytes += n
		if took := time.Since(start); took >= measured {
			return float64(bytes) * 8 / 1e9 / took.Seconds(), nil
		}
	}
}
