package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Level is how bad a finding is.
type Level string

const (
	// OK: nothing was found.
	OK Level = "ok"
	// Undecided: whether it works cannot be told from here.
	Undecided Level = "undecided"
	// Warning: it works, but not in all cases, or something is left over.
	Warning Level = "warning"
	// Error: something does not work.
	Error Level = "error"
)

// Finding is what a check says.
type Finding struct {
	// Check is the name of the check.
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Message says what is wrong or, at level OK, what is not.
	Message string `json:"message"`
	// Command is what mends it, for a shell. Empty: there is no such command, or it depends.
	Command string `json:"command,omitempty"`
	// Remedy says in words what to do, beside the command or instead of it. Both are empty at level OK.
	Remedy string `json:"remedy,omitempty"`
}

// Check is one thing that is looked for.
type Check struct {
	// Name is stable.
	Name string
	// Healthy is what is true when nothing is found.
	Healthy string

	run func(context.Context, *Host) ([]Finding, error)
}

// Checks lists all checks in the order in which they are made: what stands on something else comes later.
func Checks() []Check {
	return []Check{
		{"netconf", "the networks' files are sound and do not contradict each other", checkNetconf},
		{"subnets", "no subnet overlaps another network's or a route of the host", checkSubnets},
		{"plugins", "the networks' plugins are installed and answer", checkPlugins},
		{"kernel", "the kernel has what the networks need", checkKernel},
		{"path", "every container has its interface, addresses and routes, and the host a way to it and out", checkPath},
		{"forwarding", "the host forwards what containers need", checkForwarding},
		{"firewall", "no foreign firewall drops what containers send or get", checkFirewall},
		{"ports", "no port is open to everyone past the host's firewall", checkPorts},
		{"filters", "neither the reverse-path filter nor br_netfilter is in the way", checkFilters},
		{"mtu", "every MTU fits the link it leads to", checkMTU},
		{"reservations", "every reserved address has a container", checkReservations},
		{"attachments", "every plugin finds what it has made for the containers", checkAttachments},
		{"leftovers", "every link and rule of fairway's has a container", checkLeftovers},
		{"names", "every container that has names finds itself by them", checkNames},
		{"resolver", "containers find a server that knows the names of the outside", checkResolver},
		{"agent", "no network waits for the node agent", checkAgent},
		{"status", "every network's plugins are ready for containers", checkStatus},
	}
}

// Names are those of all checks.
func Names() []string {
	var names []string
	for _, c := range Checks() {
		names = append(names, c.Name)
	}
	return names
}

// Select gives the checks of some names, or all for none.
func Select(names []string) ([]Check, error) {
	all := Checks()
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("there is no check %q: give one of %s", name, strings.Join(Names(), ", "))
		}
	}
	return slices.DeleteFunc(all, func(c Check) bool { return !slices.Contains(names, c.Name) }), nil
}

// Run makes checks. Each gives at least one finding; what cannot be looked at is one as well.
func Run(ctx context.Context, h *Host, checks []Check) []Finding {
	var all []Finding
	for _, c := range checks {
		found, err := c.run(ctx, h)
		if err != nil {
			found = append(found, errorf("the check could not be made: %v", err).remedy("run it as root, in the host's network namespace"))
		}
		if len(found) == 0 {
			found = []Finding{{Level: OK, Message: c.Healthy}}
		}
		for _, f := range found {
			f.Check = c.Name
			all = append(all, f)
		}
	}
	return all
}

// Worst is the highest level among findings.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if slices.Index(levels, f.Level) > slices.Index(levels, worst) {
			worst = f.Level
		}
	}
	return worst
}

// levels are in the order of how bad they are.
var levels = []Level{OK, Undecided, Warning, Error}

func errorf(format string, args ...any) Finding {
	return Finding{Level: Error, Message: fmt.Sprintf(format, args...)}
}

func warningf(format string, args ...any) Finding {
	return Finding{Level: Warning, Message: fmt.Sprintf(format, args...)}
}

func undecidedf(format string, args ...any) Finding {
	return Finding{Level: Undecided, Message: fmt.Sprintf(format, args...)}
}

// command adds what mends it.
func (f Finding) command(format string, args ...any) Finding {
	f.Command = fmt.Sprintf(format, args...)
	return f
}

// remedy adds what to do.
func (f Finding) remedy(format string, args ...any) Finding {
	f.Remedy = fmt.Sprintf(format, args...)
	return f
}
