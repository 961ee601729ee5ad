package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	namesCase   = "bridge, names"
	answersCase = "names, answers"
	crowdCase   = "names, 200 in flight"
	hostCase    = "names, 1000 containers"
)

// ofNames is the third table: what names cost an attachment, and what the resolver does.
func (b bench) ofNames() []measurement {
	plain := Case{Name: namesCase, Plugin: bridge("", v4), Present: 1, Add: atMost(1.10), Del: atMost(1.10)}
	return []measurement{
		{namesCase, func(ctx context.Context) ([]Row, error) {
			without, with := b.ours, b.ours
			without.name, with.name = "without", "with-names"
			named := plain
			named.Plugin = namedBridge()
			return b.measure(ctx, entrant{without, plain}, entrant{with, named})
		}},
		{answersCase, b.answers},
		{floodCase, b.flood},
		{crowdCase, b.crowd},
		{farCase, b.farNames},
		{hostCase, b.fullHost},
	}
}

func namedBridge() string { return bridge(`"names": {}`, v4) }

// withNames opens a bed with containers that have names, and lets f look at them.
func (b bench) withNames(ctx context.Context, present, fresh int, f func(*bed) ([]Row, error)) (rows []Row, err error) {
	suite := b.ours
	suite.name = "named"
	bed, err := openBed(ctx, entrant{suite, Case{Plugin: namedBridge(), Present: present, InFlight: 1}}, b.scratch, fresh)
	if err != nil {
		return nil, err
	}
	for _, c := range bed.all {
		if err := batch(c.ns, "link set lo up"); err != nil { // as runtimes do
			return nil, errors.Join(err, bed.close())
		}
	}
	defer func() {
		for _, c := range bed.all {
			_, failure := bed.do(ctx, del, c) // for the resolver to end
			err = errors.Join(err, failure)
		}
		err = errors.Join(err, bed.close())
	}()
	return f(bed)
}

// answers is how many queries one resolver answers, and how fast when it is not at its limit, beside aardvark-dns with the same
// containers on the same host, in turns.
func (b bench) answers(ctx context.Context) ([]Row, error) {
	const containers = 4
	return b.withNames(ctx, containers, 0, func(bed *bed) (rows []Row, err error) {
		asked := bed.all[:containers]
		pid, err := resolverOf(bed.host)
		if err != nil {
			return nil, err
		}
		others, end, err := startAardvark(bed.host, asked, filepath.Join(b.scratch, "aardvark"))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, end()) }()
		var ours, theirs load
		for range 3 {
			before, err := processorTime(pid)
			if err != nil {
				return nil, err
			}
			if err := ours.measure(asked); err != nil {
				return nil, err
			}
			after, err := processorTime(pid)
			if err != nil {
				return nil, err
			}
			ours.cost = append(ours.cost, (after-before).Seconds()*1e6/float64(ours.count))
			if err := theirs.measure(others); err != nil {
				return nil, fmt.Errorf("aardvark-dns: %w", err)
			}
		}
		return []Row{
			{Case: answersCase, Verb: "most", Unit: "/s", Ours: ours.most, Goal: atLeast(30_000)},
			{Case: "  processor time for each", Unit: "µs", Ours: ours.cost},
			{Case: "  p99 at 10000 /s", Unit: "ms", Ours: ours.p99, Goal: atMost(1)},
			{Case: "  beside aardvark-dns", Verb: "most", Unit: "/s", Reference: theirs.most, Ours: ours.most, Ratio: ours.most.median() / theirs.most.median()},
			{Case: "  beside aardvark-dns", Verb: "p99", Unit: "ms", Reference: theirs.p99, Ours: ours.p99, Ratio: ours.p99.median() / theirs.p99.median()},
		}, nil
	})
}

// load is what a resolver did under it.
type load struct {
	most, p99, cost Samples
	count           int // of the last measurement
}

// measure has containers ask as fast as they are answered, and then at a pace.
func (l *load) measure(asked []container) error {
	const span, pace = 3 * time.Second, 10_000
	count, _, err := ask(asked, 0, span)
	if err != nil {
		return err
	}
	_, latencies, err := ask(asked, pace, span)
	if err != nil {
		return err
	}
	slices.Sort(latencies)
	l.count = count + len(latencies)
	l.most, l.p99 = append(l.most, float64(count)/span.Seconds()), append(l.p99, milli(latencies[len(latencies)*99/100]))
	return nil
}

// crowd attaches 200 containers at once, each of which asks for all that were there before it, and for itself, with its first
// queries.
func (b bench) crowd(ctx context.Context) ([]Row, error) {
	const containers = 200
	return b.withNames(ctx, 1, containers, func(bed *bed) ([]Row, error) {
		var mu sync.Mutex
		var present []container
		var asked, answered int
		var errs []error
		var wg sync.WaitGroup
		for _, c := range bed.take(containers) {
			wg.Go(func() {
				mu.Lock()
				before := append(slices.Clone(present), c)
				mu.Unlock()
				_, err := bed.do(ctx, add, c)
				count := 0
				if err == nil {
					count, err = askOnce(c, before)
				}
				mu.Lock()
				defer mu.Unlock()
				present, asked, answered = append(present, c), asked+len(before), answered+count
				errs = append(errs, err)
			})
		}
		wg.Wait()
		return []Row{{Case: crowdCase, Verb: add, Unit: "%", Ours: Samples{100 * float64(answered) / float64(asked)}, Goal: atLeast(100)}},
			errors.Join(errs...)
	})
}

// fullHost is what a resolver needs for a host full of containers, and how long they wait for one that was killed.
func (b bench) fullHost(ctx context.Context) ([]Row, error) {
	const containers = 1000
	return b.withNames(ctx, containers, 0, func(bed *bed) ([]Row, error) {
		pid, err := resolverOf(bed.host)
		if err != nil {
			return nil, err
		}
		if _, err := askEach(bed.all[:containers]); err != nil { // until it has read all its calls
			return nil, err
		}
		mib, descriptors, err := usage(pid)
		if err != nil {
			return nil, err
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			return nil, err
		}
		if err := process.Kill(); err != nil {
			return nil, err
		}
		begun := time.Now()
		again := bed.host.Command(b.ours.dir+"/fairwayd", "--names-only")
		if err := again.Start(); err != nil {
			return nil, fmt.Errorf("fairwayd: %w", err)
		}
		last, err := askEach(bed.all[:containers])
		if err != nil {
			return nil, err
		}
		go func() { _ = again.Wait() }() // it ends when the containers have gone
		return []Row{
			{Case: hostCase, Verb: "RSS", Unit: "MiB", Ours: Samples{mib}, Goal: atMost(64)},
			{Case: "  descriptors for each", Unit: "", Ours: Samples{float64(descriptors) / containers}, Goal: atMost(2.1)},
			{Case: "  killed until all answer", Unit: "s", Ours: Samples{last.Sub(begun).Seconds()}, Goal: atMost(1)},
		}, nil
	})
}
