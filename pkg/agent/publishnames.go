package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// namesAudit is the time between comparisons of this host's names with those that the store shows of it: for that long, what was
// written counts as being there, as the store's changes come a little later.
const namesAudit = 10 * time.Second

// namePublisher writes to etcd what containers of this host are called. It is used by one goroutine.
type namePublisher struct {
	*Agent
	local map[string]map[string]localName // by network and attachment
	// written is what was put under a lease, in an epoch of the store. An empty text: it was removed.
	written map[string]map[string]writtenName
	lease   int64
	epoch   string
	audited map[string]time.Time // by network
	created map[string]int64     // the revision of the network for which it was written
	// withdrawn are the networks of an epoch in which this host has no names: a store that went back may have some, under the same lease.
	withdrawn map[string]bool
	wentBack  bool // since this agent was started
}

type localName struct {
	registry.Name
	text string
}

type writtenName struct {
	text string
	at   time.Time
}

// attachmentOf is a record's part of a key in etcd.
func attachmentOf(file string) string { return strings.TrimSuffix(file, ".json") }

// publishNames keeps in etcd what containers of this host are called. What changes while a transaction is on its way goes into the
// next one.
func (a *Agent) publishNames(ctx context.Context) error {
	if a.config.Names == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	var mu sync.Mutex
	dirty := make(map[string]bool) // files
	mark := func(file string) {
		mu.Lock()
		dirty[file] = true
		mu.Unlock()
		a.naming.set()
	}
	a.config.Names.Observe(mark)
	defer a.config.Names.Observe(nil)
	select {
	case <-a.config.NamesRead:
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, key := range a.config.Names.Keys() {
		if names.IsFile(key) {
			mark(key)
		}
	}
	p := namePublisher{Agent: a, local: make(map[string]map[string]localName), audited: make(map[string]time.Time), created: make(map[string]int64), withdrawn: make(map[string]bool)}
	again := time.NewTimer(namesAudit)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.naming:
		case <-again.C:
		}
		mu.Lock()
		files := dirty
		dirty = make(map[string]bool)
		mu.Unlock()
		for file := range files {
			p.read(file)
		}
		again.Reset(namesAudit)
		if !p.all(ctx) {
			again.Reset(retryAfter)
		}
	}
}

// read takes a record of this host as it is now.
func (p *namePublisher) read(file string) {
	attachment := attachmentOf(file)
	for network, all := range p.local {
		if delete(all, attachment); len(all) == 0 {
			delete(p.local, network)
		}
	}
	r, ok := p.config.Names.Record(file)
	if !ok {
		return
	}
	text, err := registry.FormatName(r)
	if err != nil {
		return // a record that was read can be written
	}
	network := r.Owner.Network
	if p.local[network] == nil {
		p.local[network] = make(map[string]localName)
	}
	p.local[network][attachment] = localName{registry.Name{Node: p.node(), Record: r}, text}
}

// all publishes what differs. It says whether all is written that can be; the rest comes with a change of the state or the heartbeat.
func (p *namePublisher) all(ctx context.Context) bool {
	s, ok := p.cache.state()
	lease := p.cache.beat().lease
	if !ok || lease == 0 {
		return true
	}
	if p.epoch != "" && s.Cluster.Epoch != p.epoch {
		clear(p.withdrawn)
		p.wentBack = true
	}
	if lease != p.lease || s.Cluster.Epoch != p.epoch {
		p.lease, p.epoch, p.written = lease, s.Cluster.Epoch, make(map[string]map[string]writtenName)
		clear(p.audited)
	}
	done := true
	joined := p.cache.joinedNetworks()
	maps.DeleteFunc(p.written, func(network string, _ map[string]writtenName) bool { return !slices.Contains(joined, network) })
	for _, network := range joined {
		n := s.Networks[network]
		if !n.Readable() || !n.Followed {
			delete(p.written, network)
			continue
		}
		if err := p.network(ctx, n); err != nil {
			done = false
			if errors.Is(err, registry.ErrNodeTaken) {
				break
			}
		}
	}
	return p.withdraw(ctx, s, joined) && done
}

// withdraw removes what a store that went back shows of this host in networks that it has left since.
func (p *namePublisher) withdraw(ctx context.Context, s registry.State, joined []string) bool {
	done := true
	for name, n := range s.Networks {
		if !p.wentBack || p.withdrawn[name] || !n.Readable() || slices.Contains(joined, name) {
			continue
		}
		if err := p.registry.WithdrawNames(ctx, n, p.node(), p.bootID); err != nil {
			done = false
			continue
		}
		p.withdrawn[name] = true
	}
	return done
}

// network publishes the names in one network.
func (p *namePublisher) network(ctx context.Context, n *registry.Network) error {
	if p.created[n.Name] != n.Created {
		p.created[n.Name] = n.Created
		delete(p.written, n.Name)
		delete(p.audited, n.Name)
	}
	changes := p.differs(n)
	if len(changes) == 0 {
		return nil
	}
	if err := p.registry.PublishNames(ctx, n, p.node(), p.bootID, p.lease, changes); err != nil {
		return err
	}
	if p.written[n.Name] == nil {
		p.written[n.Name] = make(map[string]writtenName)
	}
	for attachment, text := range changes {
		p.written[n.Name][attachment] = writtenName{text, time.Now()}
	}
	return nil
}

// differs is what has to be written, an empty text for what is to be removed.
func (p *namePublisher) differs(n *registry.Network) map[string]string {
	changes, written := make(map[string]string), p.written[n.Name]
	for attachment, name := range p.local[n.Name] {
		if w, there := written[attachment]; (!there || w.text != name.text) && len(n.Addresses(&name.Name)) > 0 {
			changes[attachment] = name.text
		}
	}
	for attachment, w := range written {
		if _, is := p.local[n.Name][attachment]; !is && w.text != "" {
			changes[attachment] = ""
		}
	}
	if time.Since(p.audited[n.Name]) >= namesAudit {
		p.audited[n.Name] = time.Now()
		p.audit(n, changes)
	}
	return changes
}

// audit compares with what the store shows, but for what was written a moment ago: an earlier run of this agent has left names, or
// somebody has removed some.
func (p *namePublisher) audit(n *registry.Network, changes map[string]string) {
	written, shown := p.written[n.Name], n.NamesOf(p.node())
	for attachment, w := range written {
		switch {
		case time.Since(w.at) < namesAudit:
			delete(shown, attachment)
		case w.text == "":
			delete(written, attachment)
		case shown[attachment] != w.text:
			if name, is := p.local[n.Name][attachment]; is && len(n.Addresses(&name.Name)) > 0 {
				changes[attachment] = name.text
			}
		}
	}
	for attachment := range shown {
		if _, is := p.local[n.Name][attachment]; !is {
			changes[attachment] = ""
		}
	}
}
