// Command lab raises hosts on this machine for a person to try overlay networks on, by the code with which the tests raise
// theirs. It is called by scripts/hosts, and runs as root.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

const usage = `Several hosts on this machine, each in namespaces of its own, with one etcd, and fairwayd on each host.

  scripts/hosts up [N]                 raise N hosts, 3 unless given
  scripts/hosts exec HOST [COMMAND…]   run a command on a host, a shell unless given: HOST is 1, 2, … or underlay
  scripts/hosts ls                     show addresses, etcd, how many processes are alive, and how the agent fares
  scripts/hosts down                   end all that runs on the hosts, and remove them
  scripts/hosts help                   show this

A host has links, a host name, a boot ID and what lies below /run, /etc/cni, /etc/fairway, /opt/cni/bin, /var/lib/cni,
/var/lib/etcd and /var/lib/fairway for itself. What it writes to the rest of /etc, /opt and /var/lib it keeps for itself, too;
all other files are the machine's. The hosts are joined by a bridge in a namespace, the underlay, where etcd runs, and have
no way out of it. They are there until they are taken down, or the machine reboots. Logs: ` + dir + `/host1/fairwayd.log, ` + dir + `/underlay/m1.log
`

// errUsage is a mistake in the command line.
var errUsage = errors.New("see scripts/hosts help")

// commands are given what comes after their name.
var commands = map[string]func(l lab, args []string) error{"up": lab.up, "exec": lab.exec, "ls": lab.ls, "down": lab.down}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hosts:", err)
		os.Exit(status(err))
	}
}

// status is 2 for a mistake in the command line, and as a shell's for a command that cannot be executed.
func status(err error) int {
	switch {
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, exec.ErrNotFound):
		return 127
	case errors.Is(err, errNotExecuted):
		return 126
	}
	return 1
}

func run(args []string) error {
	if len(args) == 0 || args[0] == "help" {
		fmt.Print(usage)
		return nil
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("there is no command %q: %w", args[0], errUsage)
	}
	if os.Geteuid() != 0 {
		return errors.New("hosts need root: call scripts/hosts, which asks for it by sudo")
	}
	l, err := newLab()
	if err != nil {
		return err
	}
	err = command(l, args[1:])
	if errors.Is(err, testnet.ErrNoHosts) {
		err = fmt.Errorf("%w: `scripts/hosts up 3` raises three", err)
	}
	return err
}

// lab knows where the program's own files are.
type lab struct {
	// bin is the directory of plugins and commands.
	bin string
}

// newLab finds what was built by the place of this program, and has what it starts find that too. The commands, which lie
// beside this program, come before installed ones; the plugins come last, as one has the name of iproute2's bridge.
func newLab() (lab, error) {
	self, err := os.Executable()
	if err != nil {
		return lab{}, err
	}
	commands := filepath.Dir(self) // bin/tools
	bin := filepath.Dir(commands)
	tools := filepath.Join(filepath.Dir(bin), ".tools")
	// An ordinary user's path does not lead to sbin on Debian, and may be what sudo keeps.
	path := []string{commands, os.Getenv("PATH"), "/usr/sbin", "/sbin", bin, tools}
	return lab{bin: bin}, os.Setenv("PATH", strings.Join(path, ":"))
}
