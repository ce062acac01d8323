# Made at boot, by whichever process is first.
ActiveRecord::Base.connection.create_table(:reports, if_not_exists: true) do |table|
  table.string :kind, null: false
  table.string :asked_by
  table.string :told_by
  table.string :ran_in
  table.string :result
  table.string :mailed_to
  table.datetime :finished_at
  table.timestamps
end
