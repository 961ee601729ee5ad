package fastpath

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

const (
	// lease is how long packets are carried after this process has last said that they may be, and renewal how often it says so.
	lease   = 2 * time.Second
	renewal = 500 * time.Millisecond
	// settled is how long a link has to be there before packets are carried: its ADD has ended by then, which may publish ports and set limits.
	settled = time.Second
	// audit is between looks at what nothing tells of: iptables-legacy, IPVS.
	audit = 5 * time.Second
	// gather is how long more changes are waited for, and rest how much longer than a look the next one waits.
	gather = 10 * time.Millisecond
	rest   = 10
)

// Keeper keeps the fast path of one host as the host is.
type Keeper struct {
	path     *path
	attached map[uint32]io.Closer
	seen     map[uint32]time.Time
	may      bool
	because  string
	renewed  time.Time
	running  atomic.Pointer[path]
}

// Carried is how many packets were carried, 0 when none can be.
func (k *Keeper) Carried() uint64 {
	p := k.running.Load()
	if p == nil {
		return 0
	}
	n, err := p.count()
	if err != nil {
		return 0 // it has ended
	}
	return n
}

// Run keeps the fast path of the host that the caller's thread is in, until the context ends, and takes it away then. It has to stay on one thread where
// that is not the process's namespace. An error that is ErrUnsupported says that the kernel has not what it needs.
func (k *Keeper) Run(ctx context.Context) (err error) {
	if k.path, err = load(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	k.running.Store(k.path)
	k.attached, k.seen = map[uint32]io.Closer{}, map[uint32]time.Time{}
	defer func() { err = errors.Join(err, k.end()) }()
	changed := make(chan struct{}, 1)
	failed, err := listen(ctx, changed)
	if err != nil {
		return err
	}
	renew := time.NewTicker(renewal)
	defer renew.Stop()
	changed <- struct{}{} // what is there already
	var pause, again <-chan time.Time
	for {
		look := changed
		if pause != nil {
			look = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-renew.C:
			if !k.late() {
				k.turn(k.may, k.because)
				continue
			}
		case <-pause:
			pause = nil
			continue
		case <-look:
		case <-again:
		}
		begin := time.Now()
		next := k.look()
		pause, again = time.After(gather+rest*time.Since(begin)), time.After(next)
	}
}

// ErrUnsupported is that the kernel has no BPF, or this process may not use it.
var ErrUnsupported = errors.New("packets are not carried by BPF here")

// listen reports changes of links and rules.
func listen(ctx context.Context, changed chan<- struct{}) (failed <-chan error, err error) {
	links, err := kernel.MonitorLinks()
	if err != nil {
		return nil, err
	}
	rules, err := kernel.MonitorRules()
	if err != nil {
		return nil, err
	}
	ends := make(chan error, 2)
	set := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	go func() { ends <- links.Changes(ctx, set) }()
	go func() { ends <- rules.Changes(ctx, set) }()
	return ends, nil
}

// late says whether the lease has run out, as it does while this process is stopped: what has changed meanwhile is looked at first.
func (k *Keeper) late() bool { return time.Since(k.renewed) >= lease }

// look brings the program and its maps to what the host has, and says after which time to look again if nothing changes. What it cannot know it takes for
// a reason to carry nothing.
func (k *Keeper) look() (next time.Duration) {
	next, who, err := k.compare()
	switch {
	case err != nil:
		k.turn(false, err.Error())
		return settled
	case who != "":
		k.turn(false, who+" has to see what containers send")
	default:
		k.turn(true, "")
	}
	return next
}

// compare looks at others first: what has to stop must not wait for what has to be made.
func (k *Keeper) compare() (next time.Duration, who string, err error) {
	host, err := kernel.Open("")
	if err != nil {
		return 0, "", err
	}
	defer host.Close()
	if who, err = others(host); who != "" || err != nil {
		return audit, who, err
	}
	ports, err := tunnels(host)
	if err != nil {
		return 0, "", err
	}
	found, err := candidates(host)
	if err != nil {
		return 0, "", err
	}
	next = k.settle(found)
	members := map[uint32]memberOf{}
	for index, c := range found {
		members[index] = c.memberOf
	}
	return next, "", errors.Join(agree(k.path.tunnels, ports), agree(k.path.members, members), k.attach(host, found))
}

// settle leaves out links that have come a moment ago, and says when to look at them.
func (k *Keeper) settle(found map[uint32]candidate) (next time.Duration) {
	now, next := time.Now(), audit
	for index := range k.seen {
		if _, is := found[index]; !is {
			delete(k.seen, index)
		}
	}
	for index, c := range found {
		if k.seen[index].IsZero() {
			k.seen[index] = now
		}
		if wait := settled - now.Sub(k.seen[index]); wait > 0 && c.Device == 0 {
			next = min(next, wait)
			delete(found, index)
		}
	}
	return next
}

// attach has the program at the links of all members, and at no other.
func (k *Keeper) attach(host *kernel.Kernel, members map[uint32]candidate) error {
	var errs []error
	for index, program := range k.attached {
		if _, is := members[index]; !is {
			errs = append(errs, program.Close())
			delete(k.attached, index)
		}
	}
	for index, c := range members {
		if k.attached[index] != nil {
			continue
		}
		program, err := k.path.attach(host, c.Link)
		if errors.Is(err, unix.ENODEV) {
			continue // gone meanwhile
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		k.attached[index] = program
	}
	return errors.Join(errs...)
}

// turn says whether packets may be carried from now on.
func (k *Keeper) turn(may bool, because string) {
	if err := k.path.carry(map[bool]time.Duration{true: lease}[may]); err != nil {
		may, because = false, err.Error()
	}
	if may != k.may || because != k.because {
		slog.Info("fast path", "on", may, "because", because)
	}
	k.may, k.because, k.renewed = may, because, time.Now()
}

// end takes the program away.
func (k *Keeper) end() error {
	errs := []error{k.path.carry(0)}
	for _, program := range k.attached {
		errs = append(errs, program.Close())
	}
	k.path.close()
	return errors.Join(errs...)
}
