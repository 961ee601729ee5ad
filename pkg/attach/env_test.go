package attach

import (
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/google/go-cmp/cmp"
)

func TestEnvCheck(t *testing.T) {
	good := Env{Command: "ADD", ContainerID: "c1", IfName: "eth0", Netns: "/run/netns/c1"}
	for _, tt := range []struct {
		name   string
		change func(*Env)
		want   string
	}{
		{"ADD", func(*Env) {}, ""},
		{"DEL without namespace", func(e *Env) { e.Command, e.Netns = "DEL", "" }, ""},
		{"GC", func(e *Env) { *e = Env{Command: "GC"} }, ""},
		{"STATUS", func(e *Env) { *e = Env{Command: "STATUS"} }, ""},
		{"unknown verb", func(e *Env) { e.Command = "add" },
			`CNI_COMMAND "add" is not a verb of CNI: set it to ADD, CHECK, DEL, GC, STATUS or VERSION`},
		{"ADD without namespace", func(e *Env) { e.Netns = "" }, `CNI_COMMAND ADD needs CNI_NETNS: set it in the environment`},
		{"CHECK without all", func(e *Env) { *e = Env{Command: "CHECK"} },
			`CNI_COMMAND CHECK needs CNI_CONTAINERID and CNI_NETNS and CNI_IFNAME: set it in the environment`},
		{"DEL without interface", func(e *Env) { e.Command, e.IfName = "DEL", "" },
			`CNI_COMMAND DEL needs CNI_IFNAME: set it in the environment`},
		{"container ID is a path", func(e *Env) { e.ContainerID = "../c1" },
			`CNI_CONTAINERID "../c1": use letters, digits, '_', '.' and '-', beginning with a letter or digit`},
		{"container ID begins with a dot", func(e *Env) { e.ContainerID = ".c1" },
			`CNI_CONTAINERID ".c1": use letters, digits, '_', '.' and '-', beginning with a letter or digit`},
		{"long interface name", func(e *Env) { e.IfName = "eth0123456789abc" },
			`CNI_IFNAME "eth0123456789abc" has 16 bytes: shorten it to at most 15`},
		{"interface name is a path", func(e *Env) { e.IfName = "a/b" },
			`CNI_IFNAME "a/b" holds '/', ':', '%' or white space: choose another name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := good
			tt.change(&env)
			got := ""
			if err := env.check(); err != nil {
				got = err.Error()
				if code := cnierr.Code(err); code != cnierr.Environment {
					t.Errorf("code: got %d, want %d", code, cnierr.Environment)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sentence (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzEnv(f *testing.F) {
	f.Add("ADD", "c1", "eth0", "MAC=02:00:00:00:00:01;X=")
	f.Add("DEL", "../c1", "a/b", ";;=")
	f.Fuzz(func(t *testing.T, verb, id, ifname, args string) {
		env := Env{Command: verb, ContainerID: id, IfName: ifname, Netns: "/run/netns/c1", Args: args}
		err := env.check()
		if err != nil && cnierr.Code(err) != cnierr.Environment {
			t.Errorf("code %d: %v", cnierr.Code(err), err)
		}
		attached := verb == "ADD" || verb == "CHECK" || verb == "DEL"
		if err == nil && attached && strings.ContainsAny(id+ifname, "/\x00 \n") {
			t.Errorf("accepted: %q %q", id, ifname)
		}
		if value := env.Arg("MAC"); !strings.Contains(args, value) {
			t.Errorf("MAC %q of %q", value, args)
		}
	})
}
