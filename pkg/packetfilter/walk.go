package packetfilter

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Hook is where chains are called.
type Hook int

// The hooks that a packet passes. What enters a bridge passes those of the bridge, and then those of its protocol.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
)

// Filter is the rules of a host.
type Filter struct {
	bases []*chain
}

// chain is a list of rules. A base chain has a hook.
type chain struct {
	table  *table
	name   string
	hook   Hook
	order  int // priority
	drops  bool
	rules  []rule
	remedy remedy
}

// remedy is a command by which what comes from a link or a subnet, and goes to it, passes a chain.
type remedy func(link string, subnet netip.Prefix) string

// table is chains that can jump to each other, and what their rules look up.
type table struct {
	name     string
	families families
	chains   map[string]*chain
	sets     map[string]*set
}

type families struct{ ip4, ip6, bridge bool }

func (f families) has(p Packet) bool {
	if p.Bridge != "" {
		return f.bridge
	}
	return f.ip4 && p.Source.Is4() || f.ip6 && p.Source.Is6()
}

// rule is conditions and what becomes of a packet for which all hold.
type rule struct {
	handle uint64
	text   string // empty: unknown
	steps  []step
}

// step is one condition, or something that is done. It sets the run's verdict where it decides on one.
type step func(*run) truth

type truth int

const (
	no truth = iota
	maybe
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

type kind int

const (
	goesOn kind = iota
	accepts
	drops
	jumps
	branches // "goto"
	returns
	asks // of a program: "queue"
)

type verdict struct {
	kind  kind
	chain string
}

// run is a packet within a rule.
type run struct {
	Packet
	table     *table
	registers registers
	mark      []cell
	verdict   verdict
	narrowed  bool   // a condition of the source held
	doubt     string // what could not be decided
}

// doubtful leaves a condition open.
func (r *run) doubtful(what string) truth {
	r.doubt = what
	return maybe
}

// Fate is what becomes of a packet.
type Fate int

// Fates of a packet.
const (
	Passes Fate = iota
	Undecided
	Dropped
)

// Outcome is a fate with its reason.
type Outcome struct {
	Fate Fate
	// At says what drops the packet, or may: a rule, or a policy.
	At string
	// Narrow: it is dropped by a rule that names where it comes from.
	Narrow bool
	// Doubt is what could not be decided. Empty unless Undecided.
	Doubt string

	remedy remedy
}

// Remedy is the command by which an administrator lets pass what comes from the link of a network and goes to it; where that link is no
// more than the bridge of the packets, from its subnet.
func (o Outcome) Remedy(link string, subnet netip.Prefix) string {
	if o.remedy == nil {
		return ""
	}
	return o.remedy(link, subnet)
}

// Way gives what becomes of a packet at several hooks: it has to pass the chains of each.
func (f *Filter) Way(p Packet, hooks ...Hook) Outcome {
	worst, mark := Outcome{}, known(native(0))
	for _, hook := range hooks {
		at := p
		switch hook {
		case Prerouting, Input:
			at.Out = Link{}
		case Output:
			at.In = Link{}
		}
		var o Outcome
		if o, mark = f.at(hook, at, mark); o.Fate > worst.Fate {
			worst = o
		}
		if worst.Fate == Dropped {
			break
		}
	}
	return worst
}

// at follows a packet through the base chains of a hook, and gives its mark after them.
func (f *Filter) at(hook Hook, p Packet, mark []cell) (worst Outcome, after []cell) {
	for _, base := range f.bases {
		if base.hook != hook || !base.table.families.has(p) {
			continue
		}
		w := &walk{packet: p, table: base.table, mark: mark}
		if o := w.outcome(base); o.Fate > worst.Fate {
			worst = o
		}
		mark = w.mark
		if worst.Fate == Dropped {
			break
		}
	}
	return worst, mark
}

// walk is a packet's way through the chains of a table.
type walk struct {
	packet Packet
	table  *table
	mark   []cell
	depth  int

	accepted, dropped bool
	at                string
	narrow            bool
	doubt             string
}

func (w *walk) outcome(base *chain) Outcome {
	if w.through(base, false) {
		w.end(base.drops, "the policy of "+base.String(), false)
	}
	o := Outcome{At: w.at, Narrow: w.narrow, remedy: base.remedy}
	switch {
	case w.dropped && w.accepted:
		o.Fate, o.Doubt = Undecided, w.doubt
	case w.dropped:
		o.Fate = Dropped
	default:
		return Outcome{}
	}
	return o
}

// end notes an end that the packet comes to, or may come to. The first drop is told of.
func (w *walk) end(drops bool, at string, narrow bool) {
	if drops && !w.dropped {
		w.at, w.narrow = at, narrow
	}
	w.dropped, w.accepted = w.dropped || drops, w.accepted || !drops
}

// most is how many chains can be within each other (NFT_JUMP_STACK_SIZE, linux/netfilter/nf_tables.h).
const most = 16

// through follows a packet through a chain, and says whether it may come to the chain's end.
func (w *walk) through(c *chain, narrow bool) (falls bool) {
	if w.depth++; w.depth > most {
		return true // the kernel lets nobody load such rules
	}
	defer func() { w.depth-- }()
	for _, rule := range c.rules {
		r := &run{Packet: w.packet, table: w.table, mark: w.mark}
		holds := r.evaluate(rule)
		w.mark = r.mark
		if holds == no || r.verdict.kind == goesOn {
			continue
		}
		if r.doubt != "" {
			w.doubt = cmp.Or(w.doubt, r.doubt)
		}
		if w.decide(c, rule, r, narrow || r.narrowed, &falls) && holds == yes {
			return falls
		}
	}
	return true
}

// decide follows a verdict, and says whether the chain goes no further if it holds. It sets falls where the packet may come to the end.
func (w *walk) decide(c *chain, rule rule, r *run, narrow bool, falls *bool) (ends bool) {
	switch r.verdict.kind {
	case accepts, drops:
		w.end(r.verdict.kind == drops, rule.in(c), narrow)
		return true
	case asks:
		w.end(true, rule.in(c), narrow)
		w.end(false, "", false)
		return true
	case returns:
		*falls = true
		return true
	}
	target := w.table.chains[r.verdict.chain]
	if target == nil {
		return false
	}
	on := w.through(target, narrow)
	if r.verdict.kind == branches {
		*falls = *falls || on
		return true
	}
	return !on
}

func (rule rule) in(c *chain) string {
	switch {
	case rule.text != "":
		return fmt.Sprintf("the rule %q of %s", rule.text, c)
	case rule.handle != 0:
		return fmt.Sprintf("the rule with handle %d of %s", rule.handle, c)
	}
	return "a rule of " + c.String()
}

func (c *chain) String() string { return "chain " + c.table.name + " " + c.name }

// evaluate makes the steps of a rule until one does not hold.
func (r *run) evaluate(rule rule) truth {
	holds := yes
	for _, step := range rule.steps {
		switch step(r) {
		case no:
			r.verdict = verdict{}
			return no
		case maybe:
			holds = maybe
		}
	}
	return holds
}

// sorted are base chains in the order in which they are called.
func sorted(bases []*chain) []*chain {
	slices.SortStableFunc(bases, func(a, b *chain) int { return cmp.Compare(a.order, b.order) })
	return bases
}
