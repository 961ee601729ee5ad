package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containernetworking/cni/libcni"
)

type verb string

const (
	add   verb = "ADD"
	check verb = "CHECK"
	del   verb = "DEL"
)

// lap is the time that one round took, without its CHECK.
type lap struct{ add, del time.Duration }

// round attaches, checks and detaches as many containers as the case has in flight.
func (b *bed) round(ctx context.Context) (lap, error) {
	containers := b.take(b.width())
	var l lap
	var err error
	if l.add, err = b.together(ctx, add, containers); err != nil {
		return l, err
	}
	if _, err := b.together(ctx, check, containers); err != nil {
		return l, err
	}
	l.del, err = b.together(ctx, del, containers)
	return l, err
}

// together does the same with all containers at once, and measures from the first beginning to the last end.
func (b *bed) together(ctx context.Context, v verb, containers []container) (time.Duration, error) {
	type outcome struct {
		span
		err error
	}
	outcomes := make(chan outcome)
	for _, c := range containers {
		go func() {
			s, err := b.do(ctx, v, c)
			outcomes <- outcome{s, err}
		}()
	}
	var whole span
	var errs []error
	for range containers {
		o := <-outcomes
		whole = whole.with(o.span)
		errs = append(errs, o.err)
	}
	return whole.to.Sub(whole.from), errors.Join(errs...)
}

// span is when an operation began and ended on a thread in the host's namespace: to get there is not the plugin's work.
type span struct{ from, to time.Time }

func (s span) with(o span) span {
	if s.from.IsZero() || o.from.Before(s.from) {
		s.from = o.from
	}
	if o.to.After(s.to) {
		s.to = o.to
	}
	return s
}

func (b *bed) do(ctx context.Context, v verb, c container) (span, error) {
	rt := &libcni.RuntimeConf{ContainerID: c.id, NetNS: c.ns.Path, IfName: "eth0", CapabilityArgs: b.capabilities()}
	if b.network.Plugins[0].Network.Type == b.suite.loopback {
		rt.IfName = "lo"
	}
	var s span
	err := b.host.Do(func() error {
		s.from = time.Now()
		err := b.call(ctx, v, rt)
		s.to = time.Now()
		return err
	})
	if err != nil {
		return s, fmt.Errorf("%s %s: %w", b.name, v, err)
	}
	return s, nil
}

func (b *bed) call(ctx context.Context, v verb, rt *libcni.RuntimeConf) error {
	switch v {
	case add:
		_, err := b.runtime.AddNetworkList(ctx, b.network, rt)
		return err
	case check:
		return b.runtime.CheckNetworkList(ctx, b.network, rt)
	default:
		return b.runtime.DelNetworkList(ctx, b.network, rt)
	}
}
