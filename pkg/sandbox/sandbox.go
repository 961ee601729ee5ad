package sandbox

import (
	"os"
	"sync/atomic"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Spec says what to run, and where.
type Spec struct {
	// ID and Name are those of the container.
	ID, Name string
	// Hostname and Domainname (NIS) of the command's UTS namespace. Empty: the host's.
	Hostname, Domainname string
	// Command and its arguments; looked up in PATH.
	Command []string
	// Env is added to the environment of this process.
	Env []string
	// User runs the command. Nil: this process's.
	User *User
	// Dir is the command's working directory. Empty: this process's.
	Dir string
	// Sysctls are parameters of the network namespace, set before it is attached.
	Sysctls []kernel.Assignment

	// Endpoints are the networks to attach to, the first of which has the default route. Empty: lo alone.
	Endpoints []Endpoint
	// Netns is the path of another container's network namespace, which the command shares. Empty: one of its own.
	Netns string
	// HostNetwork: no network namespace of its own, and the host's files. Endpoints are attached all the same: a plugin for
	// the host's network changes nothing.
	HostNetwork bool
	// Files are bound over those of the same path in /etc, given the attachments. Nil: the host's are seen.
	Files func([]attachment.Attachment) map[string]string `json:"-"`

	// Started is told of the first process of the container once the command is being executed. Nil: nobody wants to know.
	Started func(init int) `json:"-"`

	// Cache, Plugins and Netconf are those of attachment.Runtime.
	Cache   string
	Plugins []string
	Netconf string
}

func (s Spec) runtime() attachment.Runtime {
	return attachment.Runtime{Cache: s.Cache, Plugins: s.Plugins, Netconf: s.Netconf, Stderr: os.Stderr}
}

// User is who runs a command.
type User struct {
	UID, GID uint32
	// Groups are the further ones.
	Groups []uint32
}

// Endpoint is a place on a network. Its Request has no container and no namespace: those are the sandbox's.
type Endpoint struct {
	Network *libcni.NetworkConfigList
	Request attachment.Request
}

// The names, argv[0], under which this package starts its own program again.
const (
	nameKeeper = "fairway-keeper"
	nameInit   = attachment.SandboxInit
	nameExec   = "fairway-exec"
)

// self is this program, even when its file has been replaced meanwhile.
const self = "/proc/self/exe"

// entered says that Enter has been called. Without it, each process that Run starts would start the next.
var entered atomic.Bool

// Enter does the part of a process that Run has started, and exits; in any other process it does nothing. The program
// calls it before anything else.
func Enter() {
	entered.Store(true)
	switch os.Args[0] {
	case nameKeeper:
		os.Exit(keep())
	case nameInit:
		os.Exit(initialise())
	case nameExec:
		if len(os.Args) > 2 { // else a person calls the program so
			os.Exit(execute(os.Args[1:]))
		}
	}
}
