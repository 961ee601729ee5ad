package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// refusedFlags are flags that Docker's command has and this one has not, by the reason. Each is NAME, or NAME SHORTHAND; one that
// takes no value ends with !.
type refusedFlags map[string][]string

const noLinks = "containers of a network find each other by name and alias: give --alias to the other one"
const noLinkLocal = "addresses come from the network's IPAM, and CNI has no way to ask for one beside: add it within the container"

var (
	refusedOfCreate  = refusedFlags{"a network for the ingress is swarm's, which there is none of: publish ports of containers": {"ingress!"}}
	refusedOfConnect = refusedFlags{noLinks: {"link"}, noLinkLocal: {"link-local-ip"}}
	refusedOfRun     = refusedFlags{
		noLinks:     {"link"},
		noLinkLocal: {"link-local-ip"},
		"the command sees the files of this machine, as they are: there are no images and no volumes": {
			"volume v", "mount", "tmpfs", "volumes-from", "entrypoint", "read-only!", "pull", "platform"},
		"the command has the rights of this process, or those of --user": {
			"privileged!", "cap-add", "cap-drop", "security-opt", "userns", "pid", "ipc", "uts", "cgroupns"},
		"nothing is limited: run it below systemd-run, or in a container of a runtime": {
			"memory m", "memory-swap", "cpus", "cpu-shares c", "cpuset-cpus", "pids-limit", "ulimit", "device", "gpus", "shm-size"},
		"a command has no labels: give it a --name":          {"label l", "label-file"},
		"the command is run once: have systemd run it again": {"restart"},
	}
)

// addTo adds the flags to a command, without a word in its help.
func (all refusedFlags) addTo(cmd *cobra.Command) {
	for why, flags := range all {
		for _, text := range flags {
			addRefused(cmd, text, why)
		}
	}
}

func addRefused(cmd *cobra.Command, text, why string) {
	name, boolean := text, false
	if last := len(text) - 1; text[last] == '!' {
		name, boolean = text[:last], true
	}
	shorthand := ""
	if at := len(name) - 2; name[at] == ' ' {
		name, shorthand = name[:at], name[at+1:]
	}
	flag := cmd.Flags().VarPF(refusal(why), name, shorthand, "")
	flag.Hidden = true
	if boolean {
		flag.NoOptDefVal = "true"
	}
}

// refusal is the value of a flag that cannot be set.
type refusal string

func (r refusal) String() string   { return "" }
func (r refusal) Type() string     { return "refused" }
func (r refusal) Set(string) error { return errRefused(r) }

// errRefused is why a flag cannot be set.
type errRefused string

func (e errRefused) Error() string { return string(e) }

// flagError says what is wrong with a flag: of one that is refused the reason alone, whatever its value was.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	var refused errRefused
	if errors.As(err, &invalid) && errors.As(err, &refused) {
		err = errors.New("--" + invalid.GetFlag().Name + ": " + refused.Error())
	}
	return usageError{err}
}
