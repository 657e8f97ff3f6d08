// Package credentials is `mctl credential`: clouds' credentials that the controller keeps under names, so that those who use it need
// none of their own.
package credentials

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/driverflags"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// maxContent bounds what is read from standard input; the controller takes no more.
const maxContent = 256 << 10

// Commands returns the commands about credentials.
func Commands(env *cli.Env) []*cobra.Command {
	command := &cobra.Command{
		Use: "credential", Short: "Manage clouds' credentials that the controller keeps under names",
		Example: "mctl credential add --driver google team key.json\nmctl create --driver google --credential team --google-project my-project web",
		Args:    cli.NoCommand(env), RunE: cli.ShowHelp,
	}
	command.AddCommand(newAdd(env), newList(env), newRemove(env))
	return []*cobra.Command{command}
}

func newAdd(env *cli.Env) *cobra.Command {
	var driver string
	var replace bool
	command := &cobra.Command{
		Use: "add NAME [FILE]", Short: "Keep a credential under a name",
		Long: "FILE holds the credential; - reads it from standard input. Without one it is what the cloud's own tools would use.\n" +
			"The controller keeps it sealed and never tells it.",
		Example: "mctl credential add --driver google team key.json\nmctl credential add --driver google --replace team",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return cli.Usagef("a credential needs a name, and a file at most").WithHint("such as `mctl credential add --driver google NAME FILE`")
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			return add(command.Context(), env, driver, args, replace)
		},
	}
	command.Flags().StringVarP(&driver, "driver", "d", "", "Driver that the credential is for")
	command.Flags().BoolVar(&replace, "replace", false, "Put it in the place of the one of this name; machines use it from now on")
	return command
}

func add(ctx context.Context, env *cli.Env, driver string, args []string, replace bool) error {
	if driver == "" {
		return cli.Usagef("no driver is named that the credential is for").WithHint("give --driver, such as --driver google")
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	content, err := read(ctx, env, client, driver, args[1:])
	if err != nil {
		return err
	}
	response, err := client.Credentials.CreateCredential(ctx, &controllerv1.CreateCredentialRequest{
		RequestId: cli.RequestID(), Name: args[0], Driver: driver, Content: content, Replace: replace,
	})
	if err != nil {
		return err
	}
	env.Infof("The credential %q is kept for the driver %s.", args[0], driver)
	return env.Result(output.Message(response.GetCredential()))
}

func read(ctx context.Context, env *cli.Env, client *dial.Client, driver string, file []string) ([]byte, error) {
	if len(file) == 1 && file[0] == "-" {
		content, err := io.ReadAll(io.LimitReader(env.In, maxContent+1))
		if err != nil || len(content) > maxContent {
			return nil, cli.Usagef("what stands in standard input is no credential").WithHint("256 kB are taken at most")
		}
		return content, nil
	}
	found, err := client.Drivers.GetDriver(ctx, &controllerv1.GetDriverRequest{Name: driver})
	if err != nil {
		return nil, err
	}
	return driverflags.Credential(env, found.GetDriver(), strings.Join(file, ""))
}

func newList(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the credentials", Example: "mctl credential ls", Args: cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return list(command.Context(), env) },
	}
}

func list(ctx context.Context, env *cli.Env) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	response, err := client.Credentials.ListCredentials(ctx, &controllerv1.ListCredentialsRequest{})
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(output.Messages(response.GetCredentials()))
	}
	var rows [][]string
	for _, c := range response.GetCredentials() {
		rows = append(rows, []string{c.GetName(), c.GetDriver(), c.GetUpdateTime().AsTime().Local().Format("2006-01-02 15:04"), strings.Join(c.GetMachines(), ", ")})
	}
	return output.Table(env.Out, []string{"NAME", "DRIVER", "CHANGED", "MACHINES"}, rows)
}

func newRemove(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Short: "Forget credentials that no machine uses", Example: "mctl credential rm team",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usagef("no credential is named").WithHint("`mctl credential ls` lists them")
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error { return remove(command.Context(), env, args) },
	}
}

func remove(ctx context.Context, env *cli.Env, names []string) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	removed := []string{}
	var failed []error
	for _, name := range cli.Unique(names) {
		if _, err := client.Credentials.DeleteCredential(ctx, &controllerv1.DeleteCredentialRequest{RequestId: cli.RequestID(), Name: name}); err != nil {
			failed = append(failed, err)
			continue
		}
		removed = append(removed, name)
		env.Infof("The credential %q is forgotten.", name)
	}
	return errors.Join(errors.Join(failed...), env.Result(map[string][]string{"removed": removed}))
}
