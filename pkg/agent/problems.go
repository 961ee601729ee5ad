package agent

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a problem may be about, beside a network.
const (
	aboutEtcd     = "etcd"
	aboutNode     = "node"
	aboutHost     = "record of this host"
	aboutUnderlay = "underlay"
	aboutReclaim  = "reclaim"
	aboutRecords  = "records of hosts"
	aboutName     = "name"
	aboutFiles    = "state-dir"
	// What other hosts call their containers, for an agent that starts without etcd.
	aboutKeptNames = "names on disk"
)

// Of a network: what is wrong with it on this host, what with this host's part of it in etcd, that its definition cannot be
// read, which of its records are left out, which addresses of containers are not this host's any more, and which names are not answered.
const (
	ofNetwork    = "network "
	ofClaims     = "claims in network "
	ofDefinition = "definition of network "
	ofRecords    = "records of network "
	ofAddresses  = "addresses in network "
	ofNames      = "names in network "
)

var ofNetworks = []string{ofNetwork, ofClaims, ofDefinition, ofRecords, ofAddresses, ofNames}

// problems are what is wrong, by what it is about, and what happened of note.
type problems struct {
	mu     sync.Mutex
	all    map[string]problem
	events []string
}

// problem is what a look has found.
type problem struct {
	error
	// began is when the look did: it may have missed what was mended since.
	began time.Time
}

func newProblems() *problems { return &problems{all: make(map[string]problem)} }

// note keeps what is wrong with something, or that nothing is, and logs it when that is news.
func (p *problems) note(about string, err error) { p.found(about, time.Now(), err) }

// found is note of a look that began earlier.
func (p *problems) found(about string, began time.Time, err error) {
	p.mu.Lock()
	before := p.all[about].error
	delete(p.all, about)
	if err != nil {
		p.all[about] = problem{err, began}
	}
	p.mu.Unlock()
	switch {
	case err == nil && before != nil:
		slog.Info("recovered", "subject", about)
	case err != nil && (before == nil || before.Error() != err.Error()):
		slog.Error("unhealthy", "subject", about, "error", err)
	}
}

// forgetAbsent drops problems of networks that are none of the given.
func (p *problems) forgetAbsent(networks []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.all, func(about string, _ problem) bool {
		for _, kind := range ofNetworks {
			if name, ok := strings.CutPrefix(about, kind); ok && !slices.Contains(networks, name) {
				return true
			}
		}
		return false
	})
}

// of is what is wrong with something.
func (p *problems) of(about string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[about].error
}

// since is what is wrong with something by a look that began no earlier than a time.
func (p *problems) since(asked time.Time, about string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found := p.all[about]; !found.began.Before(asked) {
		return found.error
	}
	return nil
}

// sentences are all problems, sorted. With a network, those of other networks are left out.
func (p *problems) sentences(network string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for about, err := range p.all {
		if network == "" || concerns(about, network) {
			list = append(list, about+": "+oneLine(err))
		}
	}
	slices.Sort(list)
	return list
}

func concerns(about, network string) bool {
	for _, kind := range ofNetworks {
		if name, ok := strings.CutPrefix(about, kind); ok {
			return name == network
		}
	}
	return true
}

// happened keeps an event of note, the last of some.
func (p *problems) happened(format string, args ...any) {
	const kept = 10
	text := fmt.Sprintf(format, args...)
	slog.Warn("event", "what", text)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, time.Now().UTC().Format(time.RFC3339)+" "+text)
	p.events = p.events[max(0, len(p.events)-kept):]
}

func (p *problems) history() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// oneLine is an error's text without line breaks: errors that are joined have them.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
