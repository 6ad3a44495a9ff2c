connection: "old_mysql"

include: "campaigns.view.lkml"

explore: campaigns {
  description: "Campaigns of the agency that left in 2021; kept for the auditors."
}
