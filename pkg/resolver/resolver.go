package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/names"
)

// Config is what a resolver needs to know.
type Config struct {
	// Directory holds the records of this host.
	Directory names.Directory
	// ResolvConf names the servers for names that are not ours, seen from the host.
	ResolvConf string
	// Temporary ends the resolver when nobody has needed it for the time of Linger, or another wants its place.
	Temporary bool
	Linger    time.Duration
	// Index is answered from; nil: one of its own. Another source may enter records of other hosts there, under keys that are no
	// file's, and it outlives the resolver.
	Index *names.Index
}

// audit is the time between full comparisons: of records with files, and of namespaces with what is left of them.
const audit = 5 * time.Second

// auditsOfRules is after how many audits redirects are compared. Events tell of nearly all that are removed.
const auditsOfRules = 12

// Resolver answers in all namespaces that have a record.
type Resolver struct {
	Config
	index   *names.Index
	spaces  *spaces
	records *records
	control *net.UnixListener
	stop    context.CancelFunc
	gone    chan struct{} // closed when Run has ended
}

// ErrRunning says that another resolver serves the host.
var ErrRunning = names.ErrRunning

// New is a resolver that answers once it runs.
func New(c Config) *Resolver {
	index := c.Index
	if index == nil {
		index = names.NewIndex()
	}
	s := &spaces{index: index, all: map[names.Space]*place{}}
	r := &Resolver{Config: c, index: index, spaces: s, gone: make(chan struct{})}
	r.records = newRecords(c.Directory, index, s.settle)
	s.handler = newLimit(local{index, r.records.catchUp, internal{index, newForward(index, c.ResolvConf)}})
	return r
}

// Run answers until the context ends, or a temporary resolver has nothing left to do. ready is called when all namespaces that
// have a record are answered in. The error is ErrRunning when another resolver serves the host.
func (r *Resolver) Run(ctx context.Context, ready func()) error {
	defer close(r.gone)
	ctx, r.stop = context.WithCancel(ctx)
	defer r.stop()
	release, err := r.Directory.Occupy()
	if err != nil {
		return err
	}
	defer release()
	if r.spaces.flushes, err = openFlushes(); err != nil {
		slog.Warn("removed redirects for names are found by the audit only", "error", err)
	}
	defer r.spaces.flushes.close()
	defer r.spaces.stopAll()
	if err := r.records.scan(); err != nil {
		slog.Warn("record of names not used", "error", err)
	}
	control, err := listenControl(r.Directory)
	if err != nil {
		return fmt.Errorf("socket for plugins: %w", err)
	}
	r.control = control
	slog.Info("names are answered", "namespaces", len(r.spaces.present()), "records", string(r.Directory))
	ready()
	return r.serve(ctx, control)
}

func (r *Resolver) serve(ctx context.Context, control *net.UnixListener) error {
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = control.Close() })()
	group.Go(func() error { return r.serveControl(ctx, control) })
	group.Go(func() error { return r.records.follow(ctx) })
	group.Go(func() error { return r.spaces.flushes.report(ctx, r.restore) })
	group.Go(func() error {
		count := 0
		every(ctx, audit, func() {
			count++
			r.audit(count%auditsOfRules == 0)
		})
		return ctx.Err()
	})
	if r.Temporary {
		group.Go(func() error { return r.awaitIdleness(ctx) })
	}
	switch err := group.Wait(); {
	case errors.Is(err, ErrNeeded):
		return ErrNeeded
	case errors.Is(err, context.Canceled), errors.Is(err, errIdle):
		return nil
	default:
		return err
	}
}

// restore looks after the redirects of namespaces; nil: of all.
func (r *Resolver) restore(some [](names.Space)) {
	if some == nil {
		some = r.spaces.present()
	}
	for _, space := range some {
		r.spaces.restore(space)
	}
}

func (r *Resolver) audit(rules bool) {
	r.records.act("")
	r.release()
	for space := range r.index.Spaces() {
		if err := r.spaces.settle(space); err != nil {
			slog.Warn("record of names not used", "error", err)
		}
	}
	if rules {
		r.restore(nil)
	}
}

// release leaves the namespaces to which no way leads any more.
func (r *Resolver) release() {
	for _, space := range r.spaces.present() {
		r.spaces.release(space)
	}
}

// leave makes room for another resolver.
func (r *Resolver) leave() { r.stop() }

var errIdle = errors.New("nobody needs names")

// ErrNeeded says that a resolver which was about to end is needed again.
var ErrNeeded = errors.New("a container came while the resolver ended")

// awaitIdleness ends when no namespace has been answered in for the time of Linger.
func (r *Resolver) awaitIdleness(ctx context.Context) error {
	idle := time.Now()
	var result error
	every(ctx, min(time.Second, r.Linger/4+time.Millisecond), func() {
		if !r.isIdle() {
			idle = time.Now()
		}
		if time.Since(idle) < r.Linger || result != nil {
			return
		}
		if result = r.vacate(); result != nil {
			r.stop()
		}
	})
	return errors.Join(result, ctx.Err())
}

func (r *Resolver) isIdle() bool { return r.records.scan() == nil && len(r.spaces.present()) == 0 }

// vacate closes the socket if nobody needs names. A plugin leaves its record before it calls, and so is seen here if its call is
// lost; while it starts another resolver, this one does not come to its end.
func (r *Resolver) vacate() error {
	release, err := r.Directory.Starter()
	if err != nil {
		slog.Warn("resolver not ended", "error", err)
		return nil
	}
	defer release()
	if !r.isIdle() {
		return nil
	}
	if err := os.Remove(r.Directory.Socket()); err != nil {
		slog.Warn("resolver not ended", "error", err)
		return nil
	}
	_ = r.control.Close() // calls that wait there are lost
	if !r.isIdle() {
		return ErrNeeded
	}
	slog.Info("ended: nobody needs names")
	return errIdle
}
