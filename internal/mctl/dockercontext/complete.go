package dockercontext

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
)

// completeOurs completes the contexts that are ours.
func completeOurs(env *cli.Env) cli.Complete {
	return func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if s, err := open(env); err == nil {
			ours, _ := s.list()
			for _, r := range ours {
				if strings.HasPrefix(r.Name, typed) && !slices.Contains(args, r.Name) {
					names = append(names, r.Name)
				}
			}
		}
		slices.Sort(names)
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
