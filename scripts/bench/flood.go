package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

const floodCase = "names, a flood"

// flood is what a container costs others that asks without reading an answer, as fast as it can: how many queries of theirs are
// answered meanwhile. It is held against the same container that sends as many datagrams to a socket which nobody reads, since
// either takes a processor.
func (b bench) flood(ctx context.Context) ([]Row, error) {
	const containers, span = 4, 2 * time.Second
	return b.withNames(ctx, containers, 0, func(bed *bed) ([]Row, error) {
		bad, others := bed.all[0], bed.all[1:containers]
		var idle, flooded Samples
		for range max(3, b.rounds/2) {
			for _, to := range []*Samples{&idle, &flooded} {
				end, err := startFlood(bad, to == &idle)
				if err != nil {
					return nil, err
				}
				count, _, err := ask(others, 0, span)
				if err = errors.Join(err, end()); err != nil {
					return nil, err
				}
				*to = append(*to, float64(count)/span.Seconds())
			}
		}
		return []Row{{Case: floodCase, Verb: "most", Unit: "/s", Reference: idle, Ours: flooded, Ratio: flooded.median() / idle.median(), Goal: atLeast(0.90)}}, nil
	})
}

// startFlood has a container send queries, to its resolver or to nobody, until the end is called for.
func startFlood(c container, nobody bool) (end func() error, err error) {
	query, err := queryFor(c)
	if err != nil {
		return nil, err
	}
	var deaf net.PacketConn
	if nobody {
		err := c.ns.Do(func() (err error) {
			deaf, err = net.ListenPacket("udp", "127.0.0.1:0")
			return err
		})
		if err != nil {
			return nil, err
		}
		c.server = deaf.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	var stop atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !stop.Load() {
			_, _ = conn.Write(query) // what does not fit into the other's buffer is lost
		}
	}()
	return func() error {
		stop.Store(true)
		<-ended
		err := conn.Close()
		if deaf != nil {
			err = errors.Join(err, deaf.Close())
		}
		return err
	}, nil
}
