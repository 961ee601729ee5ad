package attach

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/cnierr"
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
}

func readEnv(getenv func(string) string) Env {
	return Env{
		Command: getenv("CNI_COMMAND"), ContainerID: getenv("CNI_CONTAINERID"), IfName: getenv("CNI_IFNAME"),
		Netns: getenv("CNI_NETNS"), Args: getenv("CNI_ARGS"),
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
	if !isName(e.ContainerID) {
		return cnierr.Errorf(cnierr.ErrEnvironment, "CNI_CONTAINERID %q: use %s", e.ContainerID, nameRule)
	}
	if err := CheckLinkName(e.IfName); err != nil {
		return cnierr.Errorf(cnierr.ErrEnvironment, "CNI_IFNAME %w", err)
	}
	return nil
}

// nameRule is the specification's rule for container IDs and network names.
const nameRule = "letters, digits, '_', '.' and '-', beginning with a letter or digit"

// isName checks nameRule. Such a name is a file's, never a path.
func isName(s string) bool {
	for i, r := range []byte(s) {
		alnum := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !alnum && (i == 0 || r != '_' && r != '.' && r != '-') {
			return false
		}
	}
	return s != ""
}

// CheckLinkName says why the kernel would refuse a name for a link (dev_valid_name), or change it; or nil. The error names
// no key.
func CheckLinkName(name string) error {
	const longest = unix.IFNAMSIZ - 1
	switch {
	case name == "":
		return fmt.Errorf("is empty: give a name of 1 to %d bytes", longest)
	case len(name) > longest:
		return fmt.Errorf("%q has %d bytes: shorten it to at most %d", name, len(name), longest)
	case name == "." || name == "..":
		return fmt.Errorf("%q is not a name for a link: choose another", name)
	case slices.ContainsFunc([]byte(name), unfitForLink):
		return fmt.Errorf("%q holds '/', ':', '%%' or white space: choose another name", name)
	}
	return nil
}

// unfitForLink says whether a byte is none for a link's name. The kernel would replace %d by a number, and takes 0xa0 for
// white space wherever it stands (lib/ctype.c), as within some letters of UTF-8.
func unfitForLink(b byte) bool {
	return b == '/' || b == ':' || b == '%' || b <= ' ' || b == 0x7f || b == 0xa0
}
