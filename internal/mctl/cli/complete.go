package cli

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// completeLimit is how long a shell may hang at a press of the tab key.
const completeLimit = 2 * time.Second

// Complete is cobra's type for the completion of arguments.
type Complete = func(command *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// CompleteMachine completes one name of a machine.
func CompleteMachine(env *Env) Complete {
	return func(command *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return env.names(command.Context(), prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteMachines completes any number of names.
func CompleteMachines(env *Env) Complete {
	return func(command *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		names := slices.DeleteFunc(env.names(command.Context(), prefix), func(name string) bool { return slices.Contains(args, name) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// names lists machines as the running controller knows them, else as folders tell. No controller is started for it.
func (e *Env) names(ctx context.Context, prefix string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	var names []string
	if client, err := e.RunningClient(ctx); err == nil {
		for page, err := range pagesOf(ctx, client, controllerv1.MachineView_MACHINE_VIEW_BASIC) {
			if err != nil {
				break // what came in time
			}
			for _, m := range page {
				names = append(names, m.GetName())
			}
		}
	} else if dir, err := e.State(); err == nil {
		names, _ = dir.Folders()
	}
	return slices.DeleteFunc(Completable(names), func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

// completable is what means itself to every shell, and moves no cursor.
var completable = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:@/+-]*$`)

// Completable are those names that a shell may be given to put on its command line, where it evaluates them at the next press
// of the tab key. Others chose them: who runs the controller, who wrote a plugin, or whoever made a folder.
func Completable(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !completable.MatchString(name) })
}
