// What a member's policy decides, and its log: audit, approve, refuse, grant.

#include "arguments/command_line.hpp"

namespace vflbus::cli {

void add_audit(CommandLine& line) {
    CLI::App& audit = CommandLine::group(
        line.app, "audit", "What a node of this machine has decided, and what ran there.",
        "Examples:\n"
        "  vflbus audit verify\n"
        "  vflbus audit show --run 1f0c9a33");
    audit.require_subcommand(1);
    AuditVerifyArguments& verify = line.audit_verify;
    CLI::App& on_verify = line.command(
        audit, "verify", "Whether an audit log is whole, and all that its node has written.",
        "Exit code 0: it is. 3: a line was changed, removed or put in, or the end was cut off, or\n"
        "may have been, as the file `head` was missing once, or it cannot be read. It prints the\n"
        "last signature as LINE:HASH; kept where nobody of this machine can change it, --head\n"
        "finds a log that was cut or written anew since.\n"
        "Examples:\n"
        "  vflbus audit verify\n"
        "  vflbus audit verify --node member-0 --json\n"
        "  vflbus audit verify copy/log --key 9f86d081884c7d65...",
        verify);
    on_verify.add_option("FILE", verify.file, "a log; default: that of the node")->type_name("");
    on_verify.add_option("--key", verify.key, "the node's public key; default: that of the log")
        ->type_name("HEX");
    on_verify.add_option("--head", verify.head, "a signature that it must still have")
        ->type_name("LINE:HASH");
    on_verify.add_flag("--no-head", verify.no_head,
                       "a copy without the file `head`: that its end is missing cannot be seen");
    add_node_place(on_verify, verify);
    AuditShowArguments& show = line.audit_show;
    CLI::App& on_show = line.command(audit, "show", "The lines of an audit log, one each.",
                                     "What was changed is not looked for: that is `audit verify`.\n"
                                     "Examples:\n"
                                     "  vflbus audit show\n"
                                     "  vflbus audit show --run 1f0c9a33 --json",
                                     show);
    on_show.add_option("FILE", show.file, "a log; default: that of the node")->type_name("");
    on_show.add_option("--run", show.run, "lines about this run alone, by its first digits")
        ->type_name("RUN");
    add_node_place(on_show, show);
}

void add_approval(CommandLine& line) {
    ApprovalArguments& approve = line.approve;
    CLI::App& on_approve = line.command(
        line.app, "approve", "Lets a run in that waits at a member of this machine.",
        "A policy with approve = \"each\" holds runs until somebody says so (docs/policy.md).\n"
        "Examples:\n"
        "  vflbus approve                list those that wait\n"
        "  vflbus approve 1f0c9a33\n"
        "  vflbus approve 1f0c9a33 --node member-0",
        approve);
    add_run_id(on_approve, approve.run);
    add_node_place(on_approve, approve);
    ApprovalArguments& refuse = line.refuse;
    refuse.approves = false;
    CLI::App& on_refuse =
        line.command(line.app, "refuse", "Refuses a run that waits at a member of this machine.",
                     "Examples:\n"
                     "  vflbus refuse 1f0c9a33",
                     refuse);
    add_run_id(on_refuse, refuse.run)->required();
    add_node_place(on_refuse, refuse);
}

void add_grant(CommandLine& line) {
    GrantArguments& grant = line.grant;
    CLI::App& on = line.command(
        line.app, "grant", "Lets an owner use a table of a member of this machine until a date.",
        "It counts where the policy says tables = \"granted\" (docs/policy.md).\n"
        "Examples:\n"
        "  vflbus grant                                       list what is granted\n"
        "  vflbus grant data/shop.csv bank --until 2026-12-31\n"
        "  vflbus grant data/shop.csv bank --withdraw",
        grant);
    on.add_option("TABLE", grant.table, "its file, as the configuration names it")->type_name("");
    on.add_option("OWNER", grant.owner, "node name of the owner")->type_name("");
    auto* until = on.add_option("--until", grant.until, "the last day, in UTC")->type_name("DATE");
    on.add_option("--key", grant.key, "fingerprint that the owner's key must have")
        ->type_name("FINGERPRINT");
    on.add_flag("--withdraw", grant.withdraw, "takes the grant away")->excludes(until);
    add_node_place(on, grant);
}

}  // namespace vflbus::cli
