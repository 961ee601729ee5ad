package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// runFailure is the exit status when the command was not run for a reason of fairway's: Docker's.
const runFailure = 125

// runFlags are those of `fairway run`, as given.
type runFlags struct {
	endpoint       endpointFlags
	ports          portFlags
	networks       []string
	networkAliases []string
	name, hostname string
	domainname     string
	user, dir      string
	sysctls        []string
	env, envFiles  []string
	hosts          []string
	servers        []string
	search         []string
	options        []string

	detach                        bool
	remove, interactive, terminal bool // as always on a terminal; given by fingers trained on Docker
	init, proxied                 bool // likewise
	forget                        bool // --rm was given
}

func newRun(e *env) *cobra.Command {
	var o runFlags
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] [COMMAND [ARG...]]",
		Short: "Run a command on networks of its own",
		Long: `Run a command of this machine in namespaces of its own, attached to networks; without one, a shell. It needs no
container runtime and no image: the command sees the machine's files, with an /etc/resolv.conf and an /etc/hosts of its own.
When it ends, or is killed, everything is taken away: all its processes, its interfaces and its addresses.

With --detach it runs in the background, and its ID is printed: "fairway ps", "fairway logs", "fairway exec" and "fairway stop" are for it. What
it has printed is kept until it is stopped, or another one gets its name; with --rm until it ends.

The exit status is the command's; 125 says that it was not run, 126 that it cannot be executed, 127 that there is none.`,
		Example: `  fairway run                                               # a shell on the network "bridge"
  fairway run --network lamp --name web busybox httpd -f -p 80
  fairway run --network lamp,ip=10.5.0.20,alias=mysql --network back --dns 1.1.1.1 -- bash
  fairway run -p 8080:80 busybox httpd -f -p 80
  fairway run -d --name web --network lamp busybox httpd -f -p 80
  fairway run --network none ip addr`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // the shell completes commands and files
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.forget = o.remove && cmd.Flags().Changed("rm")
			status, err := e.run(o, args)
			switch {
			case err != nil && status == 0:
				var other failure
				if errors.As(err, &other) {
					return err
				}
				return failure{err, runFailure}
			case err != nil:
				e.warn(err)
			}
			if status != 0 {
				return exitError{status}
			}
			return nil
		},
	}
	o.addFlags(e, cmd)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return failure{flagError(err), runFailure} })
	return cmd
}

// dockersNames are the flags that docker has under two names.
func dockersNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "net":
		name = "network"
	case "net-alias":
		name = "network-alias"
	case "dns-opt":
		name = "dns-option"
	}
	return pflag.NormalizedName(name)
}

func (o *runFlags) addFlags(e *env, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringArrayVar(&o.networks, "network", nil,
		"`NETWORK` to attach to, or NETWORK,KEY=VALUE… with ip, ip6, alias, mac-address, ifname, gw-priority, driver-opt; or container:NAME for that one's; several times for several (default: bridge)")
	o.endpoint.addFlags(flags)
	o.ports.addFlags(flags)
	flags.StringArrayVar(&o.networkAliases, "network-alias", nil, "the same `name` as --alias gives")
	flags.StringVar(&o.name, "name", "", "`name` of the container")
	flags.Bool("help", false, "help for run") // without the letter, which is Docker's for the host name
	flags.StringVarP(&o.hostname, "hostname", "h", "", "host `name` (default: the container's)")
	flags.StringVar(&o.domainname, "domainname", "", "domain `name` of the host name")
	flags.StringVarP(&o.user, "user", "u", "", "`USER[:GROUP]` that runs the command, by name or number")
	flags.StringVarP(&o.dir, "workdir", "w", "", "`directory` that the command begins in")
	flags.StringArrayVar(&o.sysctls, "sysctl", nil, "a parameter of the network, as `net.KEY=VALUE`")
	flags.StringArrayVarP(&o.env, "env", "e", nil, "set a variable of the environment, as `KEY=VALUE`")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "read variables of the environment from a `file`, one in a line as with --env")
	flags.StringArrayVar(&o.hosts, "add-host", nil, "a further line of /etc/hosts, as `NAME:ADDRESS`; host-gateway is the network's gateway")
	flags.StringArrayVar(&o.servers, "dns", nil, "`address` of a DNS server")
	flags.StringArrayVar(&o.search, "dns-search", nil, "a `domain` to look names up in")
	flags.StringArrayVar(&o.options, "dns-option", nil, "an `option` of resolv.conf(5)")
	flags.BoolVarP(&o.detach, "detach", "d", false, "run the command in the background")
	flags.BoolVar(&o.remove, "rm", true, "nothing is left in any case; with --detach, not what was printed either")
	flags.BoolVarP(&o.interactive, "interactive", "i", true, "standard input is the command's; =false: it is empty")
	flags.BoolVarP(&o.terminal, "tty", "t", true, "the terminal is the command's in any case")
	flags.BoolVar(&o.init, "init", true, "")
	flags.BoolVar(&o.proxied, "sig-proxy", true, "")
	for _, name := range []string{"init", "sig-proxy"} {
		must(flags.MarkHidden(name))
	}
	refusedOfRun.addTo(cmd)
	e.addContainerFlags(cmd)
	flags.SetNormalizeFunc(dockersNames)
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("network", e.completeNetwork)) // fails for flags that do not exist
}

// run runs a command on networks. An error with a status says what went wrong after the command had run.
func (e *env) run(o runFlags, command []string) (status int, err error) {
	if err := o.refuse(); err != nil {
		return 0, usageError{err}
	}
	supervised := os.Getenv(detachedVar) != ""
	if o.detach && !supervised {
		return 0, e.detach(newID(), command)
	}
	spec, err := e.sandbox(o)
	if err != nil {
		return 0, err
	}
	if spec.Command = command; len(command) == 0 {
		spec.Command = []string{orDefault("SHELL", "/bin/sh")}
	}
	if supervised {
		_ = os.Unsetenv(detachedVar) // it is nobody else's; the name is one
		return e.supervise(spec, o.forget)
	}
	if !o.interactive {
		if os.Stdin, err = os.Open(os.DevNull); err != nil {
			return 0, err
		}
	}
	return sandbox.Run(spec)
}

// refuse says what of Docker's flags cannot be switched off.
func (o runFlags) refuse() error {
	switch {
	case !o.remove && !o.detach:
		return errors.New("--rm=false: nothing is left of a command on a terminal; what one in the background has printed is, with --detach")
	case !o.terminal && !o.detach:
		return errors.New("--tty=false: the command has the terminal of this process: redirect its output instead")
	case !o.init:
		return errors.New("--init=false: a process of fairway's is the first of the container in any case: it ends all others")
	case !o.proxied:
		return errors.New("--sig-proxy=false: signals are passed on in any case: give --detach for a command that gets none")
	}
	return nil
}
