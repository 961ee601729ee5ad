package packetfilter

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ParseLegacy reads what `iptables-legacy -S` prints of the table filter, for one family.
func ParseLegacy(rules string, of6 bool) *Filter {
	command, name := "iptables-legacy", "filter of iptables-legacy"
	if of6 {
		command, name = "ip6tables-legacy", "filter of ip6tables-legacy"
	}
	t := &table{name: name, families: families{ip4: !of6, ip6: of6}, chains: map[string]*chain{}}
	f := &Filter{}
	for line := range strings.Lines(rules) {
		words := legacyWords(line)
		if len(words) < 2 {
			continue
		}
		c := t.chains[words[1]]
		if c == nil {
			c = &chain{table: t, name: words[1]}
			t.chains[words[1]] = c
		}
		switch words[0] {
		case "-P":
			c.drops = len(words) > 2 && words[2] == "DROP"
			if hook, ok := legacyHooks[words[1]]; ok {
				c.hook, c.remedy = hook, legacyRemedy(command, words[1], hook)
				f.bases = append(f.bases, c)
			}
		case "-A":
			c.rules = append(c.rules, rule{text: strings.TrimSpace(line), steps: legacySteps(words[2:])})
		}
	}
	return f
}

// Beside gives both filters as one: packets have to pass the chains of each.
func (f *Filter) Beside(other *Filter) *Filter {
	return &Filter{bases: sorted(slices.Concat(f.bases, other.bases))}
}

var legacyHooks = map[string]Hook{"INPUT": Input, "FORWARD": Forward, "OUTPUT": Output}

func legacyRemedy(command, chain string, hook Hook) remedy {
	return func(link string, _ netip.Prefix) string {
		var commands []string
		if hook != Output {
			commands = append(commands, command+" -I "+chain+" -i "+link+" -j ACCEPT")
		}
		if hook != Input {
			commands = append(commands, command+" -I "+chain+" -o "+link+" -j ACCEPT")
		}
		return strings.Join(commands, " && ")
	}
}

// legacyWords are the words of a line, in which quotes hold together what has blanks.
func legacyWords(line string) []string {
	var words []string
	for i, part := range strings.Split(strings.TrimSpace(line), `"`) {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// legacySteps are the conditions of a rule, and then what it does. An option that is not known here leaves the rule open.
func legacySteps(words []string) []step {
	var steps []step
	negated := false
	for i := 0; i < len(words); i++ {
		word, value := words[i], ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch word {
		case "!":
			negated = true
			continue
		case "-m":
			if !slices.Contains([]string{"tcp", "udp", "conntrack", "state", "comment", "multiport"}, value) {
				steps = append(steps, func(r *run) truth { return r.doubtful("match " + value) })
			}
			i++
			continue
		case "--comment":
			i++
			continue
		case "-j", "-g":
			steps = append(steps, legacyEnd(word, value))
			i = len(words) // what follows are options of the target
			continue
		}
		if holds := legacyCondition(word, value); holds != nil {
			steps = append(steps, legacyStep(holds, negated, word == "-i" || word == "-s"))
			i++
		} else if strings.HasPrefix(word, "-") {
			steps = append(steps, func(r *run) truth { return r.doubtful(word) })
		}
		negated = false
	}
	return steps
}

func legacyStep(holds func(*run) bool, negated, source bool) step {
	return func(r *run) truth {
		is := holds(r)
		r.narrowed = r.narrowed || is && source && !negated
		return truthOf(is != negated)
	}
}

// legacyCondition is a condition by its option, or nil.
func legacyCondition(option, value string) func(*run) bool {
	switch option {
	case "-i":
		return func(r *run) bool { return legacyLink(value, r.In.Name) }
	case "-o":
		return func(r *run) bool { return legacyLink(value, r.Out.Name) }
	case "-s", "-d":
		prefix, err := netip.ParsePrefix(value)
		if err != nil {
			return nil // with a mask that is no prefix
		}
		return func(r *run) bool {
			if option == "-s" {
				return prefix.Contains(r.Source)
			}
			return prefix.Contains(r.Destination)
		}
	case "-p":
		return func(*run) bool { return value == "tcp" || value == "all" || value == strconv.Itoa(unix.IPPROTO_TCP) }
	case "--dport", "--sport", "--dports", "--sports":
		return func(r *run) bool {
			if strings.HasPrefix(option, "--d") {
				return legacyPorts(value, r.DestinationPort)
			}
			return legacyPorts(value, r.SourcePort)
		}
	case "--ctstate", "--state":
		return func(r *run) bool {
			state := "NEW"
			if r.Answer {
				state = "ESTABLISHED"
			}
			return slices.Contains(strings.Split(value, ","), state)
		}
	}
	return nil
}

// legacyLink compares a link with a name, or with how names begin ("br+").
func legacyLink(pattern, name string) bool {
	if begin, any := strings.CutSuffix(pattern, "+"); any {
		return strings.HasPrefix(name, begin)
	}
	return pattern == name
}

// legacyPorts looks for a port among ports and ranges ("80,8000:8010").
func legacyPorts(list string, port uint16) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(part string) bool {
		first, last, ranged := strings.Cut(part, ":")
		if !ranged {
			last = first
		}
		from, _ := strconv.Atoi(first) // empty: 0
		to, err := strconv.Atoi(last)
		return from <= int(port) && (int(port) <= to || err != nil)
	})
}

// legacyEnd is what a rule does with packets for which it holds.
func legacyEnd(option, target string) step {
	end := verdict{kind: jumps, chain: target}
	switch {
	case target == "ACCEPT":
		end = verdict{kind: accepts}
	case target == "DROP" || target == "REJECT":
		end = verdict{kind: drops}
	case target == "RETURN":
		end = verdict{kind: returns}
	case target == "QUEUE" || target == "NFQUEUE":
		return func(r *run) truth { r.verdict = verdict{kind: asks}; return r.doubtful(target) }
	case slices.Contains(statements, target) || target == "MARK":
		return func(*run) truth { return yes }
	case option == "-g":
		end.kind = branches
	}
	return func(r *run) truth { r.verdict = end; return yes }
}
