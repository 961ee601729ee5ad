package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/lifecycle"
)

// env is what the commands share: where networks and plugins are, and where to print.
type env struct {
	netconfDir string
	cniPath    string                   // a list of directories, as PATH
	containerd string                   // its socket
	agent      string                   // the socket of fairwayd
	names      func() map[string]string // of containers, as containerd's clients call them. Nil: not asked for yet
	stdin      io.Reader
	stdout     io.Writer
	stderr     io.Writer
	args       []string // of the command line, for a process that runs it again
	colour     bool     // stdout is a terminal that shows colours
	width      int      // of that terminal in characters, 0: stdout is none
}

// addFlags gives a command, and those below it, the flags for what is shared.
func (e *env) addFlags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&e.netconfDir, "netconf-dir", orDefault("NETCONFPATH", "/etc/cni/net.d"),
		"`directory` of the networks' files, also by NETCONFPATH")
	flags.StringVar(&e.cniPath, "cni-path", orDefault("CNI_PATH", "/opt/cni/bin"),
		"`directories` of the plugins, separated by colons, also by CNI_PATH")
}

func orDefault(variable, value string) string {
	if set := os.Getenv(variable); set != "" {
		return set
	}
	return value
}

// addAgentFlag gives a command the flag by which it finds the node agent.
func (e *env) addAgentFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.agent, "agent", agentapi.Socket(agentapi.DefaultRunDir), "`socket` of fairwayd")
}

// host is where networks are made and removed. Warnings go to stderr.
func (e *env) host() lifecycle.Host {
	return lifecycle.Host{Netconf: e.netconfDir, Runtime: e.runtime(), Agent: e.agent, Warn: e.warn}
}

// pluginDirs are the directories of cniPath.
func (e *env) pluginDirs() []string { return filepath.SplitList(e.cniPath) }

// networks loads all networks, and says which files were left out.
func (e *env) networks() (conflist.Networks, error) {
	networks, err := conflist.Load(e.netconfDir)
	for _, warning := range networks.Warnings {
		e.warn(warning)
	}
	return networks, err
}

// settled are the networks for who uses them: the predefined bridge has its subnet on this host.
func (e *env) settled() (conflist.Networks, error) { return e.host().Networks() }

// settledFor are the networks for who uses some of them by name. The host is looked at where one of these is the predefined bridge alone.
func (e *env) settledFor(refs ...string) (conflist.Networks, error) {
	networks, err := e.networks()
	for _, ref := range refs {
		if n, unknown := networks.Find(ref); unknown == nil && n.File == "" && n.Link != "" {
			return e.host().Networks()
		}
	}
	return networks, err
}

// warn tells of something that does not stop the command.
func (e *env) warn(err error) { fmt.Fprintf(e.stderr, "fairway: warning: %s\n", clean(err.Error())) }
