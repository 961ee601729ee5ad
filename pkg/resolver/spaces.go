package resolver

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/nameport"
	"github.com/fairway-cni/fairway/pkg/names"
)

// spaces are the namespaces in which we answer. They follow the index.
type spaces struct {
	index   *names.Index
	handler Handler
	flushes *flushes // nil: redirects are compared at intervals only

	mu  sync.Mutex
	all map[names.Space]*place
}

// place is one namespace. Its lock is held while its sockets are opened or closed.
type place struct {
	mu     sync.Mutex
	left   bool // it is in the map no more
	server *server
	netns  names.Netns
	// expected is until when a record may come for a port that was handed over.
	expected time.Time
	// foreign is since when another process has had the port.
	foreign time.Time
}

// handover is how long a plugin may take from handing over a port to leaving the record, and how long it may have the port before.
const handover = 10 * time.Second

// settle makes one namespace what the index says of it: answered in or not. Absence of the namespace itself is no error.
func (s *spaces) settle(space names.Space) error {
	p := s.enter(space)
	defer p.mu.Unlock()
	ways := s.index.Ways(space)
	if len(ways) > 0 {
		p.expected = time.Time{}
	}
	switch {
	case len(ways) == 0 && time.Now().Before(p.expected):
		return nil
	case len(ways) == 0:
		s.leave(space, p)
		s.close(space, p)
		return nil
	case p.server != nil:
		return nil
	}
	var errs []error
	for _, way := range ways {
		opened, err := open(way, !p.foreign.IsZero() && time.Since(p.foreign) > handover)
		if err == nil {
			s.serve(space, p, way, opened)
			return nil
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if errors.Is(err, errHandedOver) {
		if p.foreign.IsZero() {
			p.foreign = time.Now()
		}
		return nil // the audit comes back to it
	}
	s.leave(space, p)
	if !errors.Is(err, kernel.ErrNoNamespace) {
		return fmt.Errorf("names in %s: %w", ways[0].Path, err)
	}
	return nil
}

// serve begins to answer at a port.
func (s *spaces) serve(space names.Space, p *place, n names.Netns, opened sockets) {
	p.netns, p.server, p.foreign = n, newServer(space, opened, s.handler), time.Time{}
	// The container's ADD needs the processors first. What it has removed until it is watched is found by one look then.
	time.AfterFunc(20*time.Millisecond, func() {
		if p.serves() {
			s.flushes.watch(space, n)
			s.restore(space)
		}
	})
}

func (p *place) serves() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server != nil
}

// adopt answers at a port that a plugin has opened. The record comes later: until then queries are refused, of which there are
// none, as the plugin has not returned.
func (s *spaces) adopt(n names.Netns, raw nameport.Sockets) error {
	p := s.enter(n.Space())
	defer p.mu.Unlock()
	if p.server != nil {
		raw.Close()
		return nil
	}
	opened, err := adopted(raw)
	if err != nil {
		return err
	}
	p.expected = time.Now().Add(handover)
	s.serve(n.Space(), p, n, opened)
	return nil
}

// enter locks the place of a namespace.
func (s *spaces) enter(space names.Space) *place {
	for {
		s.mu.Lock()
		p := s.all[space]
		if p == nil {
			p = &place{}
			s.all[space] = p
		}
		s.mu.Unlock()
		p.mu.Lock()
		if !p.left {
			return p
		}
		p.mu.Unlock()
	}
}

func (s *spaces) leave(space names.Space, p *place) {
	p.left = true
	s.flushes.forget(space)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, space)
}

// close stops answering in a namespace. Most go at once, and the redirect with them; where one lives on, on other networks, it is
// taken away a little later.
func (s *spaces) close(space names.Space, p *place) {
	if p.server == nil {
		return
	}
	p.server.stop()
	p.server = nil
	netns := p.netns
	const grace = time.Second
	time.AfterFunc(grace, func() {
		p := s.enter(space)
		defer p.mu.Unlock()
		if p.server != nil {
			return // it has a record again
		}
		s.leave(space, p)
		if err := withdraw(netns); err != nil {
			slog.Warn("redirect for names not removed", "netns", netns.Path, "error", err)
		}
	})
}

// release closes the sockets in a namespace to which no way leads any more: they would keep it from going.
func (s *spaces) release(space names.Space) {
	ways := s.index.Ways(space)
	if len(ways) == 0 {
		_ = s.settle(space) // a record that has not come; withdraw has nothing to say of a namespace that may be gone
		return
	}
	for _, way := range ways {
		if id(way).At(way.Path) {
			return
		}
	}
	p := s.enter(space)
	defer p.mu.Unlock()
	if p.server != nil {
		p.server.stop()
		p.server = nil
		slog.Info("namespace is gone, its record is not", "netns", p.netns.Path)
	}
	s.leave(space, p)
}

// restore compares the redirect of a namespace, and writes it when it is missing.
func (s *spaces) restore(space names.Space) {
	p := s.enter(space)
	defer p.mu.Unlock()
	if p.server == nil {
		s.leave(space, p)
		return
	}
	restored, err := p.server.restore(p.netns)
	switch {
	case errors.Is(err, kernel.ErrNoNamespace): // it is found by the next audit
	case err != nil:
		slog.Warn("redirect for names not restored", "netns", p.netns.Path, "error", err)
	case restored:
		slog.Info("redirect for names restored: it was removed within the container", "netns", p.netns.Path)
	}
}

// present are the namespaces that have a place.
func (s *spaces) present() []names.Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]names.Space, 0, len(s.all))
	for space := range s.all {
		all = append(all, space)
	}
	return all
}

// stopAll closes all sockets and leaves the redirects to the next resolver, which takes them over with their ports.
func (s *spaces) stopAll() {
	for _, space := range s.present() {
		p := s.enter(space)
		if p.server != nil {
			p.server.stop()
			p.server = nil
		}
		s.leave(space, p)
		p.mu.Unlock()
	}
}
