package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// completers complete LINE in a shell, as a person does by the tabulator, by the completion script SCRIPT. They print what
// is proposed, or the line as it is then.
var completers = map[string]string{
	"bash": `
. /usr/share/bash-completion/bash_completion
. "$SCRIPT"
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9
read -ra COMP_WORDS <<<"$LINE."
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMP_WORDS[COMP_CWORD]=${COMP_WORDS[COMP_CWORD]%.}
__start_fairway 2>/dev/null # compopt complains that readline is not there
printf '%s\n' "${COMPREPLY[@]}"`,
	"fish": `
source $SCRIPT
complete -C $LINE`,
	// zsh completes in its editor alone, on a terminal. That says when it is there, and then what the line has become. Of its
	// functions for a thousand other commands none is loaded.
	"zsh": `
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell 'fpath=(${(M)fpath:#*/Completion(|/Base)}); autoload -U compinit; compinit -u -D; . $SCRIPT
zle-line-init() { print -n "EDITOR$((1+1))" }; zle -N zle-line-init
become() { print -r "BEGIN$((1+1))${BUFFER}END$((1+1))" }; zle -N become; bindkey "^X^B" become'
zpty -r shell said "*EDITOR2*"
zpty -w -n shell "$LINE"$'\t\C-x\C-b'
zpty -r shell said "*END2*"
print -r -- "${${said##*BEGIN2}%END2*}"`,
}

// TestCompletion completes the names of networks and of containers in each shell.
func TestCompletion(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	createNetwork(t, "--subnet", "10.74.0.0/24", "lamp")
	web := testnet.NewNS(t, "web")
	succeed(t, fairway(t, "connect", "lamp", "netns:"+web.Path))
	t.Cleanup(func() { succeed(t, fairway(t, "disconnect", "lamp", "netns:"+web.Path)) })
	container := filepath.Base(web.Path)

	for shell, completer := range completers {
		t.Run(shell, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "_fairway")
			if err := os.WriteFile(script, []byte(succeed(t, fairway(t, "completion", shell))), 0o644); err != nil {
				t.Fatal(err)
			}
			for line, want := range map[string]string{
				"fairway network connect --ip 10.7.0.9 l": "lamp",
				"fairway run --network l":                 "lamp",
				"fairway network disconnect -f lamp ":     container,
			} {
				cmd := with(command(t, shell, "-c", completer), "LINE="+line, "SCRIPT="+script,
					"PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"), "NETCONFPATH="+confDir, "CNI_PATH="+pluginDir)
				if said := succeed(t, cmd); !strings.Contains(said, want) {
					t.Errorf("%s: got %q, want %q among it", line, said, want)
				}
			}
		})
	}
}
