# Takes away an upload that nothing followed.
rm -f /var/lib/mctl/agent.new
rmdir /var/lib/mctl
