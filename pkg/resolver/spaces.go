package resolver

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/fairway-cni/fairway/pkg/kernel"
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
}

// settle makes one namespace what the index says of it: answered in or not. Absence of the namespace itself is no error.
func (s *spaces) settle(space names.Space) error {
	p := s.enter(space)
	defer p.mu.Unlock()
	ways := s.index.Ways(space)
	if len(ways) == 0 {
		s.leave(space, p)
		return p.close()
	}
	if p.server != nil {
		return nil
	}
	var errs []error
	for _, way := range ways {
		opened, err := open(way)
		if err == nil {
			p.netns, p.server = way, newServer(space, opened, s.handler)
			s.flushes.watch(space, way)
			return nil
		}
		errs = append(errs, err)
	}
	s.leave(space, p)
	if err := errors.Join(errs...); !errors.Is(err, kernel.ErrNoNamespace) {
		return fmt.Errorf("names in %s: %w", ways[0].Path, err)
	}
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

// close stops answering in a namespace that may live on.
func (p *place) close() error {
	if p.server == nil {
		return nil
	}
	p.server.stop()
	p.server = nil
	return withdraw(p.netns)
}

// release closes the sockets in a namespace to which no way leads any more: they would keep it from going.
func (s *spaces) release(space names.Space) {
	for _, way := range s.index.Ways(space) {
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
