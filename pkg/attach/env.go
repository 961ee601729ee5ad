package attach

import (
	"strings"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/identifier"
)

// Env is the parameters of a call (CNI specification 1.1.0, section 2, "Parameters").
type Env struct {
	// Command is the verb: ADD, CHECK, DEL, GC, STATUS or VERSION.
	Command string
	// ContainerID and IfName are checked; they hold nothing that could leave a directory.
	ContainerID, IfName string
	// Netns is the path of the container's namespace; DEL may come without.
	Netns string
	// Args is CNI_ARGS, not read yet.
	Args string
	// NetnsOverride allows Netns to be the plugin's own (CNI library, CNI_NETNS_OVERRIDE).
	NetnsOverride bool
	// Redeclare is RedeclareVariable. Empty: CHECK is CHECK.
	Redeclare string
}

func readEnv(getenv func(string) string) Env {
	return Env{
		Command: getenv("CNI_COMMAND"), ContainerID: getenv("CNI_CONTAINERID"), IfName: getenv("CNI_IFNAME"),
		Netns: getenv("CNI_NETNS"), Args: getenv("CNI_ARGS"),
		Redeclare:     getenv(RedeclareVariable),
		NetnsOverride: getenv("CNI_NETNS_OVERRIDE") == "1" || strings.EqualFold(getenv("CNI_NETNS_OVERRIDE"), "true"),
	}
}

// Arg is the value of a key in CNI_ARGS (K=V;K=V), or empty; of several, the last, as upstream has it. Other keys are for
// other plugins: a delegate inherits them.
func (e Env) Arg(key string) (value string) {
	for pair := range strings.SplitSeq(e.Args, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok && k == key {
			value = v
		}
	}
	return value
}

// check looks for the parameters that the verb needs.
func (e Env) check() error {
	switch e.Command {
	case "ADD", "CHECK":
		return e.checkAttachment(true)
	case "DEL":
		return e.checkAttachment(false)
	case "GC", "STATUS", "VERSION":
		return nil
	}
	return cnierr.Errorf(cnierr.ErrEnvironment,
		"CNI_COMMAND %q is not a verb of CNI: set it to ADD, CHECK, DEL, GC, STATUS or VERSION", e.Command)
}

func (e Env) checkAttachment(netns bool) error {
	var missing []string
	for _, v := range []struct {
		name, value string
		needed      bool
	}{{"CNI_CONTAINERID", e.ContainerID, true}, {"CNI_NETNS", e.Netns, netns}, {"CNI_IFNAME", e.IfName, true}} {
		if v.needed && v.value == "" {
			missing = append(missing, v.name)
		}
	}
	if len(missing) > 0 {
		return cnierr.Errorf(cnierr.ErrEnvironment, "CNI_COMMAND %s needs %s: set it in the environment",
			e.Command, strings.Join(missing, " and "))
	}
	if !identifier.Valid(e.ContainerID) {
		return cnierr.Errorf(cnierr.ErrEnvironment, "CNI_CONTAINERID %q: use %s", e.ContainerID, identifier.Rule)
	}
	if err := identifier.CheckLink(e.IfName); err != nil {
		return cnierr.Errorf(cnierr.ErrEnvironment, "CNI_IFNAME %w", err)
	}
	return nil
}

// CheckLinkName says why the kernel would refuse a name for a link (dev_valid_name), or change it; or nil. The error names
// no key.
func CheckLinkName(name string) error { return identifier.CheckLink(name) }
